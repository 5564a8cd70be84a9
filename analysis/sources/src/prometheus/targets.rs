//! What the source tells of its targets: how often each is scraped.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::settings;

/// One active target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    labels: BTreeMap<String, String>,
    interval: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    active_targets: Vec<ActiveTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    scrape_interval: Option<String>,
    /// Where the interval stands that VictoriaMetrics tells.
    #[serde(default)]
    discovered_labels: BTreeMap<String, String>,
}

/// The label of a discovered target that holds its interval.
const DISCOVERED_INTERVAL: &str = "__scrape_interval__";

/// Reads the answer of the targets API; targets that do not tell their interval are left out.
pub(crate) fn read(data: &RawValue) -> Option<Vec<Target>> {
    let active: Active = serde_json::from_str(data.get()).ok()?;
    let told = active.active_targets.into_iter().filter_map(|target| {
        let told = target.scrape_interval.as_ref();
        let told = told.or_else(|| target.discovered_labels.get(DISCOVERED_INTERVAL));
        let interval = settings::duration(told?)?;
        Some(Target { labels: target.labels, interval })
    });
    Some(told.collect())
}

/// Returns the longest interval among the targets that carry these labels; where none does, the
/// labels are the application's own, and it is the longest of all.
pub(crate) fn interval(targets: &[Target], labels: &BTreeMap<String, String>) -> Option<Duration> {
    let carries = |target: &&Target| {
        labels.iter().all(|(name, value)| target.labels.get(name) == Some(value))
    };
    let longest = |targets: &mut dyn Iterator<Item = &Target>| targets.map(|t| t.interval).max();
    longest(&mut targets.iter().filter(carries)).or_else(|| longest(&mut targets.iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_interval_of_a_sides_own_targets_counts() {
        let json = r#"{"activeTargets": [
            {"labels": {"track": "a"}, "scrapeInterval": "5s"},
            {"labels": {"track": "a"}, "scrapeInterval": "15s"},
            {"labels": {"track": "b"}, "scrapeInterval": "1m"},
            {"labels": {"track": "v"}, "discoveredLabels": {"__scrape_interval__": "2s"}},
            {"labels": {"track": "b"}}]}"#;
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        let targets = read(&raw).unwrap();
        let check = |value: &str, secs| {
            let labels = BTreeMap::from([("track".to_owned(), value.to_owned())]);
            assert_eq!(interval(&targets, &labels), Some(Duration::from_secs(secs)), "{value}");
        };
        check("a", 15);
        check("b", 60);
        check("v", 2);
        check("c", 60);
        assert_eq!(interval(&[], &BTreeMap::new()), None);
    }
}
