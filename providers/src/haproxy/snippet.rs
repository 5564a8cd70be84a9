//! What a person pastes into haproxy.cfg once; nothing of it changes with a release.
//!
//! 0 and 100 % are exact, with no way round. Between them a side whose servers are all down gives
//! its traffic to the other, which the provider sees: it reports the side down.

use std::fmt;

use serde_json::Value;

use super::config::{Settings, Way};
use crate::{SettingsError, Sides};

const FRONTEND: &str = "\
# In the frontend, instead of the backend rules of this route. Where it serves several routes, give
# every line the route's condition, and write the last one as a use_backend too:
";
const REST: &str = "\
# In defaults, so that a reload loses no request on a kept connection:
#   option idle-close-on-response
# In global, so that an old process does not serve an old share for long:
#   hard-stop-after 30s
";

/// What to paste where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// Lines for the frontend that serves the route; empty where none are needed.
    pub frontend: String,
    /// The map file's path and its first line; `None` where there is no map.
    pub map: Option<(String, String)>,
    /// The admin sockets, for the global section.
    pub sockets: Vec<String>,
}

/// Returns what these settings need in haproxy.cfg.
pub fn snippet(settings: &Value, sides: &Sides) -> Result<Snippet, Vec<SettingsError>> {
    let settings = Settings::parse(settings, sides)?;
    let sockets = settings.sockets.iter().map(ToString::to_string).collect();
    Ok(match settings.way {
        Way::Share { map, key, backends } => Snippet {
            frontend: frontend(&map.to_string_lossy(), &key, &backends),
            map: Some((map.to_string_lossy().into_owned(), format!("{key} 0\n"))),
            sockets,
        },
        Way::ServerWeights { .. } => Snippet { frontend: String::new(), map: None, sockets },
    })
}

fn frontend(map: &str, key: &str, [first, second]: &[String; 2]) -> String {
    let var = format!("txn.haldane.{}", variable(key));
    format!(
        "    http-request set-var({var}) str({key}),map_str({map},0),add(0)
    use_backend {second} if {{ var({var}) -m int ge 10000 }}
    use_backend {second} if {{ var({var}) -m int gt 0 }} {{ nbsrv({second}) gt 0 }} {{ rand(10000),sub({var}) lt 0 }}
    use_backend {second} if {{ var({var}) -m int gt 0 }} {{ nbsrv({second}) gt 0 }} {{ nbsrv({first}) lt 1 }}
    default_backend {first}
"
    )
}

/// Returns a key as a variable's name; two keys never share one.
fn variable(key: &str) -> String {
    let letter = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => format!("_{:02x}", u32::from(c)),
    };
    key.chars().map(letter).collect()
}

/// The whole as text: what is not configuration is a comment.
impl fmt::Display for Snippet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((map, line)) = &self.map else {
            writeln!(out, "# mode ServerWeights needs no lines of its own: write")?;
            writeln!(out, "# `balance roundrobin` and no `cookie` in the backend.")?;
            return self.global(out);
        };
        self.global(out)?;
        let directory = map.rsplit_once('/').map_or("", |(directory, _)| directory);
        out.write_str(
            "# Once, the map; the engine's user, in group haproxy, writes its directory:\n",
        )?;
        writeln!(out, "#   install -d -g haproxy -m 2775 {directory}")?;
        writeln!(out, "#   printf '{}\\n' >> {map}", line.trim_end())?;
        out.write_str(FRONTEND)?;
        out.write_str(&self.frontend)?;
        out.write_str(REST)
    }
}

impl Snippet {
    fn global(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "# In global, one socket per process:")?;
        for socket in &self.sockets {
            let socket = if socket.starts_with('/') {
                format!("{socket} group haproxy mode 660")
            } else {
                format!("ipv4@{socket}")
            };
            writeln!(out, "#   stats socket {socket} level admin")?;
        }
        Ok(())
    }
}
