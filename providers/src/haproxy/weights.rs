//! Mode `ServerWeights`: the weights of the servers of one `roundrobin` backend.
//!
//! For a configuration that cannot be changed. It is second best: no mark can be left, a reload
//! forgets the weights, and a server that fails or is taken out moves what users get. The share that
//! is read is the one that the weights say, of all servers, up or not: nobody wrote it. What users get
//! is told beside it, as what is in force. 0 and 100 % are exact.

use haldane_model::{Reading, Split};
use serde_json::json;

use super::{
    READ_DEADLINE, WRITE_STEP_DEADLINE,
    client::{self, Address, Fault},
    processes::{self, Each, Look, every},
    share::{answer, version},
    solve::{self, Asked, Pair},
    stat::{self, Backend, Server},
};
use crate::{Error, Sides, Snapshot};

/// The servers of one backend, in every process.
#[derive(Debug)]
pub(super) struct ServerWeights {
    pub(super) sockets: Vec<Address>,
    pub(super) backend: String,
    pub(super) servers: [Vec<String>; 2],
    pub(super) sides: Sides,
}

impl ServerWeights {
    pub(super) fn representable(&self, split: &Split) -> Split {
        let counts = self.counts();
        let made = solve::made(solve::solve(self.asked(split), counts), counts);
        let share = if split.side == self.sides.second { made } else { made.complement() };
        Split::new(split.side.clone(), share)
    }

    pub(super) async fn read(&self) -> Result<Reading, Error> {
        let command = [self.question()];
        let looks = every(&self.sockets, &command, READ_DEADLINE, |told| {
            self.look(&self.backend(answer(told, 0))?)
        });
        processes::reading(&self.sides.second, looks.await)
    }

    pub(super) async fn write(&self, split: &Split) -> Result<(), Error> {
        let asked = self.asked(split);
        let each = futures::future::join_all(self.sockets.iter().map(|address| async move {
            let written = self.write_process(address, asked);
            let written = tokio::time::timeout(WRITE_STEP_DEADLINE, written).await;
            (address.clone(), written.unwrap_or(Err(Fault::Hung(WRITE_STEP_DEADLINE))))
        }));
        processes::outcome(&each.await)
    }

    pub(super) async fn preflight(&self) -> Result<Snapshot, Error> {
        let commands = ["show cli level".to_owned(), "show info".to_owned(), self.question()];
        let each: Each<(String, Backend)> =
            every(&self.sockets, &commands, READ_DEADLINE, |told| {
                let version = version(answer(told, 0), answer(told, 1))?;
                let backend = self.backend(answer(told, 2))?;
                self.fit(&backend)?;
                Ok((version, backend))
            })
            .await;
        if each.iter().any(|(_, proof)| proof.is_err()) {
            return Err(processes::failure(&each));
        }
        let proofs = each.iter().filter_map(|(at, proof)| Some((at, proof.as_ref().ok()?)));
        let parts: serde_json::Map<_, _> = proofs
            .map(|(at, (version, backend))| {
                let weights: serde_json::Map<_, _> =
                    backend.servers.iter().map(|s| (s.name.clone(), s.weight.into())).collect();
                (at.to_string(), json!({"version": version, "weights": weights}))
            })
            .collect();
        let warning = "server weights carry no signature and a reload forgets them; mode: Share has \
                       neither weakness";
        Ok(Snapshot { settings: json!({"processes": parts}), warnings: vec![warning.into()] })
    }

    fn question(&self) -> String {
        format!("show stat {} 6 -1", self.backend)
    }

    fn asked(&self, split: &Split) -> Asked {
        if split.side == self.sides.second {
            Asked::Second(split.share)
        } else {
            Asked::First(split.share)
        }
    }

    fn backend(&self, told: &str) -> Result<Backend, Fault> {
        stat::parse(told).ok_or_else(|| match told {
            "No such proxy." => Fault::Refused(format!(
                "there is no backend {:?}; correct destinations, or add it to haproxy.cfg",
                self.backend
            )),
            odd => Fault::refusal(odd),
        })
    }

    /// Refuses a backend in which server weights do not make the split.
    fn fit(&self, backend: &Backend) -> Result<(), Fault> {
        let name = &self.backend;
        let refuse = |why: String| Err(Fault::Refused(why));
        if backend.algorithm != "roundrobin" {
            // What `show stat` calls unknown is `random`, in 2.6.
            let algorithm = backend.algorithm.replace("unknown", "random");
            return refuse(format!(
                "backend {name} has `balance {algorithm}`, whose weights make no exact split; write \
                 `balance roundrobin`, or use mode: Share"
            ));
        }
        if backend.cookie {
            return refuse(format!(
                "backend {name} has a `cookie`, which keeps users on a server of weight 0; remove \
                 it, or use mode: Share"
            ));
        }
        for side in 0..2 {
            self.of(backend, side)?;
        }
        let ours =
            |server: &&Server| self.servers.iter().flatten().any(|name| *name == server.name);
        if let Some(stray) = backend.servers.iter().find(|server| !ours(server)) {
            let stray = &stray.name;
            return refuse(format!(
                "server {name}/{stray} is on neither side but takes traffic; add it to one"
            ));
        }
        if let Some(backup) = backend.servers.iter().find(|server| server.backup) {
            let backup = &backup.name;
            return refuse(format!(
                "server {name}/{backup} is a backup, which weights do not reach; remove `backup`, or \
                 use mode: Share"
            ));
        }
        Ok(())
    }

    /// Returns the servers of a side.
    fn of<'a>(&self, backend: &'a Backend, side: usize) -> Result<Vec<&'a Server>, Fault> {
        let find = |name: &String| {
            backend.servers.iter().find(|server| server.name == *name).ok_or_else(|| {
                Fault::Refused(format!(
                    "there is no server {}/{name}; correct destinations, or add it to haproxy.cfg",
                    self.backend
                ))
            })
        };
        self.servers[side].iter().map(find).collect()
    }

    /// Returns how many servers each side has, up or not: those that are down come back with the
    /// weight that they have.
    fn counts(&self) -> [u64; 2] {
        self.servers.each_ref().map(|names| names.len().try_into().unwrap_or(u64::MAX))
    }

    fn look(&self, backend: &Backend) -> Result<Look, Fault> {
        let sides = [self.of(backend, 0)?, self.of(backend, 1)?];
        let sums = |weight: fn(&Server) -> u64| {
            sides.each_ref().map(|servers| servers.iter().map(|server| weight(server)).sum())
        };
        let [first, second] = sums(|server| server.weight);
        let share = solve::share_of_second(first, second)
            .ok_or_else(|| Fault::Refused(format!("no server of {} has a weight", self.backend)))?;
        // Where nothing that is up has a weight nobody is served: then nothing is in force.
        let [first, second] = sums(|server| if server.up { server.effective } else { 0 });
        let in_force = solve::share_of_second(first, second);
        let settled = sides.iter().flatten().all(|s| !s.up || s.weight == s.effective);
        let health = sides.each_ref().map(|servers| stat::health(servers.iter().copied()));
        Ok(Look { share, mark: None, health, settled, in_force })
    }

    async fn write_process(&self, address: &Address, asked: Asked) -> Result<(), Fault> {
        let told = client::ask(address, &[self.question()], WRITE_STEP_DEADLINE).await?;
        let backend = self.backend(answer(&told, 0))?;
        for side in 0..2 {
            self.of(&backend, side)?;
        }
        let commands = self.commands(solve::solve(asked, self.counts()));
        let told = client::ask(address, &commands, WRITE_STEP_DEADLINE).await?;
        match told.iter().map(|told| told.trim()).find(|told| !told.is_empty()) {
            None => Ok(()),
            Some(refusal) => Err(Fault::refusal(refusal)),
        }
    }

    /// Returns the commands of a pair: those with a weight first, so that at no moment every server
    /// has weight 0.
    fn commands(&self, pair: Pair) -> Vec<String> {
        let [first, second] = &self.servers;
        let mut weights: Vec<(&String, u16)> =
            first.iter().map(|name| (name, pair.first)).collect();
        weights.extend(second.iter().map(|name| (name, pair.second)));
        weights.sort_by_key(|(_, weight)| *weight == 0);
        let command = |(server, weight): (&String, u16)| {
            format!("set server {}/{server} weight {weight}", self.backend)
        };
        weights.into_iter().map(command).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_no_moment_every_server_has_weight_0() {
        let weights = ServerWeights {
            sockets: Vec::new(),
            backend: "be".into(),
            servers: [vec!["b1".into(), "b2".into()], vec!["g".into()]],
            sides: Sides { first: "blue".into(), second: "green".into() },
        };
        let raise =
            ["set server be/g weight 1", "set server be/b1 weight 0", "set server be/b2 weight 0"];
        assert_eq!(weights.commands(Pair { first: 0, second: 1 }), raise);
        let lower =
            ["set server be/b1 weight 1", "set server be/b2 weight 1", "set server be/g weight 0"];
        assert_eq!(weights.commands(Pair { first: 1, second: 0 }), lower);
    }
}
