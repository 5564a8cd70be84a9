//! `show stat`: which servers of a backend can take traffic. Pure.
//!
//! Columns are found by their names, so that a newer HAProxy may add some.

use haldane_model::Health;

/// What is read of one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backend {
    /// Whether HAProxy calls it up.
    pub(super) up: bool,
    /// How it balances; empty where the socket's level hides it.
    pub(super) algorithm: String,
    /// Whether a cookie ties users to servers.
    pub(super) cookie: bool,
    /// Its servers.
    pub(super) servers: Vec<Server>,
}

/// One server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name.
    pub(super) name: String,
    /// Whether HAProxy would give it a request, but for its weight.
    pub(super) up: bool,
    /// Whether a person has put it into maintenance.
    pub(super) maintenance: bool,
    /// Whether it serves only where no other does.
    pub(super) backup: bool,
    /// The weight that was set.
    pub(super) weight: u64,
    /// The weight in force, which a slow start or an agent may hold apart.
    pub(super) effective: u64,
}

/// Reads the answer to `show stat BACKEND 6 -1`; `None` where there is no such backend.
pub(super) fn parse(answer: &str) -> Option<Backend> {
    let mut lines = answer.lines();
    let header: Vec<String> = fields(lines.next()?.strip_prefix("# ")?);
    let column = |name: &str| header.iter().position(|column| column == name);
    let (server, status, weight, set) =
        (column("svname")?, column("status")?, column("weight")?, column("uweight")?);
    let (backup, algorithm, cookie) = (column("bck")?, column("algo"), column("cookie"));
    let mut found = None;
    let mut servers = Vec::new();
    for row in lines.filter(|line| !line.is_empty()).map(fields) {
        let field = |at: usize| row.get(at).map_or("", String::as_str);
        let number = |at: usize| field(at).parse::<u64>().unwrap_or(0);
        if field(server) == "BACKEND" {
            found = Some(Backend {
                up: field(status).starts_with("UP"),
                algorithm: algorithm.map(field).unwrap_or_default().to_owned(),
                cookie: cookie.is_some_and(|at| !field(at).is_empty()),
                servers: Vec::new(),
            });
        } else {
            servers.push(Server {
                name: field(server).to_owned(),
                up: field(status).starts_with("UP") || field(status) == "no check",
                maintenance: field(status).starts_with("MAINT")
                    && !field(status).contains("resolution"),
                backup: number(backup) > 0,
                weight: number(set),
                effective: number(weight),
            });
        }
    }
    found.map(|backend| Backend { servers, ..backend })
}

/// Splits a line of CSV; a quote inside quotes is doubled.
fn fields(line: &str) -> Vec<String> {
    let (mut out, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    out.push(field);
    out
}

/// Returns the health of some servers; those in maintenance are not wanted.
pub(super) fn health<'a>(servers: impl Iterator<Item = &'a Server> + Clone) -> Health {
    let count = |backup: bool, ready: bool| {
        let counted = servers.clone().filter(|server| {
            server.backup == backup && if ready { server.up } else { !server.maintenance }
        });
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    };
    let wanted = count(false, false);
    match count(false, true) {
        0 => match count(true, true) {
            0 => Health::Down,
            ready => Health::Ready { ready, wanted: wanted.max(ready) },
        },
        ready => Health::Ready { ready, wanted: wanted.max(ready) },
    }
}

/// Returns what several processes know of one side together: the fewest servers that one of them
/// sees ready, and down only where all of them that answered say so.
pub(super) fn together(witnesses: impl Iterator<Item = Health>) -> Health {
    witnesses
        .reduce(|left, right| match (left, right) {
            (Health::Ready { ready: fewer, .. }, Health::Ready { ready, .. }) if ready < fewer => {
                right
            }
            (Health::Ready { .. }, _) => left,
            (_, Health::Ready { .. }) => right,
            (Health::Untold, _) | (_, Health::Untold) => Health::Untold,
            (Health::Down, Health::Down) => Health::Down,
        })
        .unwrap_or(Health::Untold)
}

// === impl Backend ===

impl Backend {
    /// Returns its health as a whole; a server of weight 0 takes nothing.
    pub(super) fn health(&self) -> Health {
        if self.servers.is_empty() && self.up {
            return Health::Untold;
        }
        health(self.servers.iter().filter(|server| server.weight > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# pxname,svname,status,weight,bck,last_chk,cookie,algo,uweight,\n";

    fn server(name: &str, up: bool, backup: bool) -> Server {
        Server { name: name.into(), up, maintenance: false, backup, weight: 1, effective: 1 }
    }

    #[test]
    fn a_backend_is_read_by_the_names_of_its_columns() {
        let text = format!(
            "{HEADER}be,s1,UP 2/3,5,0,\"no, \"\"really\"\"\",,,6,\nbe,s2,MAINT,1,0,,,,1,\n\
             be,BACKEND,UP,5,0,,SRV,roundrobin,5,\n"
        );
        let backend = parse(&text).unwrap();
        assert!(backend.up && backend.cookie);
        assert_eq!(backend.algorithm, "roundrobin");
        assert_eq!((backend.servers[0].weight, backend.servers[0].effective), (6, 5));
        assert_eq!(backend.health(), Health::Ready { ready: 1, wanted: 1 });
        assert_eq!(parse("No such proxy.\n"), None);
    }

    #[test]
    fn a_backup_counts_only_alone() {
        let (one, two) = (server("a", false, false), server("b", true, true));
        assert_eq!(health([&one, &two].into_iter()), Health::Ready { ready: 1, wanted: 1 });
        assert_eq!(health([&one].into_iter()), Health::Down);
    }

    #[test]
    fn down_needs_every_witness() {
        let ready = |ready| Health::Ready { ready, wanted: 3 };
        let check = |witnesses: &[Health], expected| {
            assert_eq!(together(witnesses.iter().copied()), expected, "{witnesses:?}");
        };
        check(&[Health::Down, Health::Down], Health::Down);
        check(&[Health::Down, ready(1), ready(3)], ready(1));
        check(&[Health::Down, Health::Untold], Health::Untold);
        check(&[], Health::Untold);
    }
}
