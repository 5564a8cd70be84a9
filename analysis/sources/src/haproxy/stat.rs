//! `show info` and `show stat`: what a process counted for each backend. Pure.
//!
//! Columns are found by their names, so that another HAProxy may have more. In HTTP mode the
//! answers are counted by their class; what HAProxy answers itself, because no server was reached
//! (`econ`) or none answered well (`eresp`), is among the 5xx already and is not added again. In TCP
//! mode there are no answers: sessions are counted, and those two are the failed ones.

use std::collections::BTreeMap;

use crate::counters::Labels;

/// What the requests are called: the name that client libraries give them.
pub(super) const REQUESTS: &str = "http_requests_total";

const CLASSES: [(&str, &str); 6] = [
    ("hrsp_1xx", "1xx"),
    ("hrsp_2xx", "2xx"),
    ("hrsp_3xx", "3xx"),
    ("hrsp_4xx", "4xx"),
    ("hrsp_5xx", "5xx"),
    ("hrsp_other", "other"),
];

/// The backends of both sides, with the labels of their series.
#[derive(Clone, Debug)]
pub(super) struct Backends(Vec<(String, Labels)>);

/// Series with their values, and which process told them.
pub(super) type Told = (Vec<(Labels, f64)>, String);

/// Reads what a process told of the backends.
pub(super) fn read(answer: &str, backends: &Backends, instance: &str) -> Result<Told, String> {
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
    for (backend, labels) in &backends.0 {
        let row = rows.iter().find(|row| {
            row.get("pxname") == Some(&backend.as_str()) && row.get("svname") == Some(&"BACKEND")
        });
        let Some(row) = row else {
            return Err(format!("it has no backend {backend}: correct `backends`"));
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
            text.parse::<u64>().map(|count| count as f64).map_err(|_odd| {
                format!("the column {column} of {backend} is {text:?}, and no number")
            })
        };
        if row.get("mode") == Some(&"tcp") {
            let (all, failed) = (number("stot")?, number("econ")? + number("eresp")?);
            push("2xx", (all - failed).max(0.0));
            push("5xx", failed);
        } else {
            for (column, code) in CLASSES {
                push(code, number(column)?);
            }
        }
        let is_up = !row.get("status").copied().unwrap_or_default().starts_with("DOWN");
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
            // Names and numbers come before any text that may hold a comma, but for the check's
            // description, which a backend's row does not have.
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

// === impl Backends ===

impl Backends {
    pub(super) fn new(
        backends: &BTreeMap<String, String>,
        labels: &BTreeMap<String, Labels>,
    ) -> Self {
        let one = |(side, backend): (&String, &String)| {
            let mut labels = labels.get(side).cloned().unwrap_or_default();
            labels.entry("proxy".to_owned()).or_insert_with(|| backend.clone());
            (backend.clone(), labels)
        };
        Self(backends.iter().map(one).collect())
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn ups(&self, instance: &str) -> Vec<Labels> {
        self.0.iter().map(|(_, labels)| up(&labelled(labels, instance))).collect()
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

    fn backends() -> Backends {
        let map = |pairs: [(&str, &str); 2]| {
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        };
        let side = |side: &str| BTreeMap::from([("side".to_owned(), side.to_owned())]);
        let labels = [("blue".to_owned(), side("blue")), ("green".to_owned(), side("green"))];
        Backends::new(&map([("blue", "be_blue"), ("green", "be_green")]), &labels.into())
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
