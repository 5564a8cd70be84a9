//! `show info` and `show stat`: what a process counted for each backend, or for each server. Pure.
//!
//! Columns are found by their names, so that another HAProxy may have more. In HTTP mode the
//! answers are counted by their class; what HAProxy answers itself, because no server was reached
//! (`econ`) or none answered well (`eresp`), is among the 5xx already and is not added again. In TCP
//! mode there are no answers: sessions are counted, and those two are the failed ones. Of a server only
//! its own answers are counted by class, so both are failed requests of it in either mode.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::config::Written;
use crate::counters::Labels;

/// What the requests are called: the name that client libraries give them.
pub(super) const REQUESTS: &str = "http_requests_total";

/// What `show stat` calls the row of a backend, and those of its servers.
const BACKEND: u8 = 2;
const SERVERS: u8 = 4;

const CLASSES: [(&str, &str); 6] = [
    ("hrsp_1xx", "1xx"),
    ("hrsp_2xx", "2xx"),
    ("hrsp_3xx", "3xx"),
    ("hrsp_4xx", "4xx"),
    ("hrsp_5xx", "5xx"),
    ("hrsp_other", "other"),
];

/// What is counted of both sides.
#[derive(Clone, Debug)]
pub(super) struct Counted(Vec<Part>);

/// A backend, or one server of it, with the labels of its series.
#[derive(Clone, Debug)]
struct Part {
    backend: String,
    server: Option<String>,
    labels: Labels,
}

/// Series with their values, and which process told them.
pub(super) type Told = (Vec<(Labels, f64)>, String);

/// Reads what a process told.
pub(super) fn read(answer: &str, counted: &Counted, instance: &str) -> Result<Told, String> {
    let info = |name: &str| {
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.ok_or_else(|| {
            format!("`show info` has no {name}: {:?}", answer.chars().take(120).collect::<String>())
        })
    };
    // A process id comes again in a container; the moment that it began does not.
    let began = info("Start_time_sec").unwrap_or_default();
    let process = format!("{} {began}", info("Pid")?);
    let rows = rows(answer);
    let mut series = Vec::new();
    for part in &counted.0 {
        let Part { backend, server, labels } = part;
        let name = server.as_deref().unwrap_or("BACKEND");
        let row = rows.iter().find(|row| {
            row.get("pxname") == Some(&backend.as_str()) && row.get("svname") == Some(&name)
        });
        let Some(row) = row else {
            return Err(match server {
                Some(server) => format!("{backend} has no server {server}: correct `servers`"),
                None => format!("it has no backend {backend}: correct `backends`"),
            });
        };
        let labels = labelled(labels, instance);
        let mut push = |code: &str, count: f64| {
            let mut labels = labels.clone();
            labels.insert("__name__".to_owned(), REQUESTS.to_owned());
            labels.insert("code".to_owned(), code.to_owned());
            series.push((labels, count));
        };
        let number = |column: &str| {
            let text = row.get(column).copied().unwrap_or_default();
            text.parse::<u64>()
                .map(|count| count as f64)
                .map_err(|_odd| format!("the column {column} of {part} is {text:?}, and no number"))
        };
        // Only who speaks HTTP has classes of answers.
        if row.get("hrsp_2xx") == Some(&"") {
            let (all, failed) = (number("stot")?, number("econ")? + number("eresp")?);
            push("2xx", (all - failed).max(0.0));
            push("5xx", failed);
        } else {
            let unanswered = match server {
                Some(_) => number("econ")? + number("eresp")?,
                None => 0.0,
            };
            for (column, code) in CLASSES {
                let more = if code == "5xx" { unanswered } else { 0.0 };
                push(code, number(column)? + more);
            }
        }
        let status = row.get("status").copied().unwrap_or_default();
        let is_up = !status.starts_with("DOWN") && !status.starts_with("MAINT");
        series.push((up(&labels), f64::from(u8::from(is_up))));
    }
    Ok((series, process))
}

/// The rows of every table, each by the names of its columns.
fn rows(answer: &str) -> Vec<BTreeMap<&str, &str>> {
    let (mut header, mut rows) = (Vec::new(), Vec::new());
    for line in answer.lines() {
        if let Some(names) = line.strip_prefix("# pxname,") {
            header = ["pxname"].into_iter().chain(names.split(',')).collect();
        } else if line.is_empty() {
            header.clear();
        } else if !header.is_empty() {
            // The columns that are read come before any text that may hold a comma.
            rows.push(header.iter().copied().zip(line.split(',')).collect());
        }
    }
    rows
}

fn labelled(labels: &Labels, instance: &str) -> Labels {
    let mut labels = labels.clone();
    labels.entry("instance".to_owned()).or_insert_with(|| instance.to_owned());
    labels
}

fn up(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.insert("__name__".to_owned(), "up".to_owned());
    labels
}

// === impl Counted ===

impl Counted {
    pub(super) fn new(written: &Written) -> Self {
        let mut parts = Vec::new();
        for (side, backend) in &written.backends {
            let mut labels = written.labels.get(side).cloned().unwrap_or_default();
            labels.entry("proxy".to_owned()).or_insert_with(|| backend.clone());
            let Some(servers) = written.servers.get(side) else {
                parts.push(Part { backend: backend.clone(), server: None, labels });
                continue;
            };
            for server in servers {
                let mut labels = labels.clone();
                labels.entry("server".to_owned()).or_insert_with(|| server.clone());
                parts.push(Part { backend: backend.clone(), server: Some(server.clone()), labels });
            }
        }
        Self(parts)
    }

    /// The commands that ask for it, each once: a backend's own row, or those of its servers.
    pub(super) fn commands(&self) -> BTreeSet<String> {
        let command = |part: &Part| {
            let kind = if part.server.is_some() { SERVERS } else { BACKEND };
            format!("show stat {} {kind} -1", part.backend)
        };
        self.0.iter().map(command).collect()
    }

    pub(super) fn ups(&self, instance: &str) -> Vec<Labels> {
        self.0.iter().map(|part| up(&labelled(&part.labels, instance))).collect()
    }
}

// === impl Part ===

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(out, "{}/{server}", self.backend),
            None => out.write_str(&self.backend),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from HAProxy 2.6, its tables cut to fewer columns.
    const ANSWER: &str = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 915\nUptime_sec: 3\n\
        Start_time_sec: 1795258883\nTainted: 0\n\n\
        # pxname,svname,stot,econ,eresp,status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,mode,-,\n\
        be_blue,BACKEND,90,1,0,UP,0,80,2,3,4,1,http,-,\n\n\
        # pxname,svname,stot,econ,eresp,status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,mode,-,\n\
        be_green,BACKEND,50,3,2,DOWN,,,,,,,tcp,-,\n\n";

    fn counted(more: &str) -> Counted {
        let text = format!(
            r#"{{"sockets": ["/s"], "labels": {{"blue": {{"side": "blue"}}, "green": {{"side": "green"}}}},
                {more}}}"#
        );
        Counted::new(&serde_json::from_str(&text).unwrap())
    }

    fn backends() -> Counted {
        counted(r#""backends": {"blue": "be_blue", "green": "be_green"}"#)
    }

    fn told(answer: &str) -> BTreeMap<String, f64> {
        let (series, _) = read(answer, &backends(), "/s").unwrap();
        let name = |labels: &Labels| {
            assert_eq!(labels["instance"], "/s");
            let code = labels.get("code").map_or("", String::as_str);
            format!("{} {} {} {code}", labels["side"], labels["proxy"], labels["__name__"])
        };
        series.iter().map(|(labels, value)| (name(labels).trim().to_owned(), *value)).collect()
    }

    #[test]
    fn answers_are_counted_by_class_and_connections_where_there_are_none() {
        let told = told(ANSWER);
        assert_eq!(told["blue be_blue http_requests_total 2xx"], 80.0);
        assert_eq!(told["blue be_blue http_requests_total 5xx"], 4.0, "a 503 of HAProxy is one");
        assert_eq!(told["blue be_blue http_requests_total other"], 1.0);
        assert_eq!(told["green be_green http_requests_total 2xx"], 45.0);
        assert_eq!(told["green be_green http_requests_total 5xx"], 5.0);
        assert_eq!((told["blue be_blue up"], told["green be_green up"]), (1.0, 0.0));
    }

    /// Captured likewise: nothing listens behind g1.
    const SERVERS_ANSWER: &str = "Pid: 915\nStart_time_sec: 1795258883\n\n\
        # pxname,svname,stot,econ,eresp,status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,last_chk,mode,-,\n\
        be_app,b1,90,0,1,no check,0,80,0,0,4,0,,http,-,\n\
        be_app,b2,10,0,0,UP,0,10,0,0,0,0,\"L7OK, fine\",http,-,\n\
        be_app,g1,7,7,0,MAINT,0,0,0,0,0,0,,http,-,\n\n";

    #[test]
    fn servers_of_one_backend_are_told_apart_and_who_did_not_answer_failed() {
        let servers = counted(
            r#""backends": {"blue": "be_app", "green": "be_app"},
               "servers": {"blue": ["b1", "b2"], "green": ["g1"]}"#,
        );
        assert_eq!(servers.commands(), BTreeSet::from(["show stat be_app 4 -1".to_owned()]));
        let (series, _) = read(SERVERS_ANSWER, &servers, "/s").unwrap();
        let of = |server: &str, name: &str, code: Option<&str>| {
            let found = series.iter().filter(|(labels, _)| {
                labels["server"] == server
                    && labels["__name__"] == name
                    && labels.get("code").map(String::as_str) == code
            });
            let found: Vec<f64> = found.map(|(_, value)| *value).collect();
            assert_eq!(found.len(), 1, "{server} {name}");
            found[0]
        };
        assert_eq!(of("b1", REQUESTS, Some("5xx")), 5.0);
        assert_eq!(of("b2", REQUESTS, Some("2xx")), 10.0);
        assert_eq!(of("g1", REQUESTS, Some("5xx")), 7.0);
        assert_eq!(
            (of("b1", "up", None), of("b2", "up", None), of("g1", "up", None)),
            (1.0, 1.0, 0.0)
        );
        let error = read(&SERVERS_ANSWER.replace("g1", "g2"), &servers, "/s").unwrap_err();
        assert!(error.contains("be_app has no server g1"), "{error}");
    }

    #[test]
    fn each_process_and_each_of_its_lives_is_told_apart() {
        let process = |answer: &str| read(answer, &backends(), "/s").unwrap().1;
        assert_eq!(process(ANSWER), "915 1795258883");
        assert_ne!(process(ANSWER), process(&ANSWER.replace("1795258883", "1795258884")));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |answer: &str, words: &str| {
            let error = read(answer, &backends(), "/s").unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refused("", "no Pid");
        refused("Permission denied\n", "no Pid");
        refused(&ANSWER.replace("be_blue,", "be_b,"), "no backend be_blue");
        refused("Pid: 1\n\nNo such proxy.\n\n", "no backend be_blue");
        refused(&ANSWER.replace(",80,", ",x,"), "hrsp_2xx of be_blue is \"x\"");
        refused(&ANSWER[..ANSWER.len() - 40], "be_green");
        refused(&ANSWER.replace("hrsp_5xx", "hrsp_new"), "hrsp_5xx");
    }
}
