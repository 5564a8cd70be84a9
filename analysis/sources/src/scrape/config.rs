//! The settings of a direct scrape, as written and as used.

use std::{collections::BTreeMap, time::Duration};

use haldane_outside::{Outside, Secret, Tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::{
    SettingsError, TemplateScope,
    access::{self, Access, Basic, Header, Parts},
    counters::Labels,
    sampled, settings,
};

const INTERVAL: &str = "1s";
const INTERVAL_LEAST: Duration = Duration::from_millis(200);
const INTERVAL_MOST: Duration = Duration::from_secs(60);
const TIMEOUT: &str = "1s";
/// How many targets a source may have.
const TARGETS_MAX: usize = 200;

/// The pages of metrics of both sides, read without a Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    /// The pages of each side, by its name: `{blue: ["http://127.0.0.1:8001/metrics"], green: […]}`.
    pub(super) targets: BTreeMap<String, Vec<String>>,
    /// How often each is read: a duration from `200ms` to `60s`.
    #[serde(default = "interval")]
    pub(super) interval: String,
    /// How long one page may take; what takes longer is down.
    #[serde(default = "timeout")]
    pub(super) timeout: String,
    /// A bearer token, sent to every target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bearer: Option<Secret>,
    /// A user's name and password, sent to every target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) basic: Option<Basic>,
    /// More headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub(super) headers: BTreeMap<String, Header>,
    /// How the targets are trusted, and our own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<Tls>,
    /// How large a page may be, after decompression.
    #[serde(default = "access::body_bytes_max")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub(super) max_body_bytes: usize,
    /// The sides' labels, which their series get. Filled in from `sides`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, Labels>,
}

/// Settings that can be used.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) interval: Duration,
    pub(super) targets: Vec<Place>,
}

/// One page.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// With its query, where it has one.
    pub(super) url: Url,
    /// How it is asked for; the address in it is not used.
    pub(super) access: Access,
    /// What its series are called besides their own labels.
    pub(super) labels: Labels,
}

fn interval() -> String {
    INTERVAL.to_owned()
}

fn timeout() -> String {
    TIMEOUT.to_owned()
}

/// Checks settings and adds the defaults; reads every secret and certificate once.
pub(super) fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: Written = settings::read(settings).map_err(|error| vec![error])?;
    let read = Settings::read(&written)?;
    let outside = Outside::default();
    // All are asked with the same secrets, and those with TLS with the same certificates.
    let encrypted = read.targets.iter().find(|target| target.url.scheme() == "https");
    if let Some(target) = encrypted.or_else(|| read.targets.first()) {
        target.access.check_outside(&outside)?;
    }
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

/// Gives every side's series its labels.
pub(super) fn join(settings: &Value, scope: &TemplateScope) -> Result<Value, SettingsError> {
    let mut written: Written = settings::read(settings)?;
    let known = sampled::side_names(scope);
    let unknown_help = format!("the sides of this rollout are {known}");
    let absent_help = format!("name the pages of both sides, {known}");
    let helps = [unknown_help.as_str(), absent_help.as_str()];
    sampled::names_both_sides("/targets", &written.targets, scope, "targets", helps)?;
    for (side, labels) in &scope.sides {
        if labels.contains_key("instance") && written.targets[side].len() > 1 {
            let message =
                format!("the label `instance` of {side} would be that of all its targets");
            let help = "give the side another label, such as side: blue";
            return Err(SettingsError::new("/targets", message, help));
        }
    }
    written.labels = sampled::labels_of_sides(scope);
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

// === impl Settings ===

impl Settings {
    /// Reads settings without looking outside.
    pub(super) fn read(written: &Written) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let every = settings::duration(&written.interval)
            .filter(|every| (INTERVAL_LEAST..=INTERVAL_MOST).contains(every));
        if every.is_none() {
            let message = format!("{:?} is no interval from 200ms to 60s", written.interval);
            errors.push(SettingsError::new("/interval", message, "write 1s, or as short as 200ms"));
        }
        let mut targets: Vec<Place> = Vec::new();
        for (side, urls) in &written.targets {
            if urls.is_empty() {
                let path = format!("/targets/{side}");
                let help = "name at least one page, such as http://127.0.0.1:8001/metrics";
                errors.push(SettingsError::new(&path, "it has no target", help));
            }
            for (at, url) in urls.iter().enumerate() {
                let path = format!("/targets/{side}/{at}");
                match place(written, side, url, &path) {
                    Ok(place) if targets.iter().any(|known| known.url == place.url) => {
                        let message = format!("{} is named twice", place.url);
                        let help = "each page belongs to one side, once";
                        errors.push(SettingsError::new(&path, message, help));
                    }
                    Ok(place) => targets.push(place),
                    // What holds for all targets is told once.
                    Err(more) => {
                        errors.extend(
                            more.into_iter()
                                .filter(|error| !errors.contains(error))
                                .collect::<Vec<_>>(),
                        );
                    }
                }
            }
        }
        if targets.len() > TARGETS_MAX {
            let message = format!("{} targets are more than {TARGETS_MAX}", targets.len());
            errors.push(SettingsError::new("/targets", message, "ask a Prometheus instead"));
        }
        if targets.is_empty() && errors.is_empty() {
            let help = "write {blue: [\"http://127.0.0.1:8001/metrics\"], green: […]}";
            errors.push(SettingsError::new("/targets", "there is no target", help));
        }
        let Some(interval) = every.filter(|_| errors.is_empty()) else { return Err(errors) };
        Ok(Self { interval, targets })
    }
}

fn place(
    written: &Written,
    side: &str,
    text: &str,
    path: &str,
) -> Result<Place, Vec<SettingsError>> {
    let help = "write it as http://127.0.0.1:8001/metrics";
    let url = Url::parse(text)
        .map_err(|_odd| vec![SettingsError::new(path, "it is no address", help)])?;
    let mut bare = url.clone();
    bare.set_query(None);
    let mut errors = Vec::new();
    let parts = Parts {
        url: bare.to_string(),
        bearer: written.bearer.clone(),
        basic: written.basic.clone(),
        headers: written.headers.clone(),
        tls: written.tls.clone(),
        timeout: written.timeout.clone(),
        max_body_bytes: written.max_body_bytes,
    };
    let access = Access::read(parts, &mut errors);
    let Some(access) = access.filter(|_| errors.is_empty()) else {
        for error in errors.iter_mut().filter(|error| error.path == "/url") {
            path.clone_into(&mut error.path);
            error.help = Some(help.to_owned());
        }
        return Err(errors);
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let mut labels = written.labels.get(side).cloned().unwrap_or_default();
    labels.entry("instance".to_owned()).or_insert_with(|| format!("{host}:{port}"));
    Ok(Place { url, access, labels })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(settings: Value, path: &str, words: &str) {
        let errors = check(&settings).unwrap_err();
        let found = errors.iter().any(|e| e.path == path && e.message.contains(words));
        assert!(found, "{errors:?}");
    }

    fn two() -> Value {
        json!({"blue": ["http://127.0.0.1:8001/metrics"], "green": ["http://127.0.0.1:8002/m?x=1"]})
    }

    fn scope(labels: &[(&str, &str)]) -> TemplateScope {
        let labels = |value: &str| {
            labels.iter().map(|(name, _)| ((*name).to_owned(), value.to_owned())).collect()
        };
        TemplateScope {
            sides: [("blue".into(), labels("v1")), ("green".into(), labels("v2"))],
            ..TemplateScope::default()
        }
    }

    #[test]
    fn defaults_are_added_and_stay() {
        let checked = check(&json!({"targets": two()})).unwrap();
        let wanted = json!({
            "targets": two(), "interval": "1s", "timeout": "1s", "maxBodyBytes": 4_194_304
        });
        assert_eq!(checked, wanted);
        assert_eq!(check(&checked).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_its_place() {
        refused(json!({}), "", "missing field `targets`");
        refused(json!({"targets": {}}), "/targets", "no target");
        refused(json!({"targets": {"blue": []}}), "/targets/blue", "no target");
        refused(json!({"targets": {"blue": ["x:1"]}}), "/targets/blue/0", "no http");
        refused(json!({"targets": {"blue": ["http://a:b@c/"]}}), "/targets/blue/0", "password");
        let twice = json!({"blue": ["http://a/m"], "green": ["http://a/m"]});
        refused(json!({"targets": twice}), "/targets/green/0", "named twice");
        refused(json!({"targets": two(), "interval": "100ms"}), "/interval", "200ms to 60s");
        refused(json!({"targets": two(), "timeout": "0s"}), "/timeout", "\"0s\"");
        refused(json!({"targets": two(), "maxBodyBytes": 1}), "/maxBodyBytes", "1 is not");
        let bearer = json!({"targets": two(), "bearer": {"file": "/nowhere/token"}});
        refused(bearer, "/bearer", "/nowhere/token");
        let errors = check(&json!({"targets": two(), "timeout": "x"})).unwrap_err();
        assert_eq!(errors.len(), 1, "told once: {errors:?}");
    }

    #[test]
    fn the_sides_labels_are_joined_and_other_sides_are_refused() {
        let checked = check(&json!({"targets": two()})).unwrap();
        let joined = join(&checked, &scope(&[("version", "")])).unwrap();
        assert_eq!(joined["labels"]["green"], json!({"version": "v2"}));
        assert_eq!(join(&joined, &scope(&[("version", "")])).unwrap(), joined);
        assert_eq!(check(&joined).unwrap(), joined, "what is pinned can be written again");
        let read = Settings::read(&settings::read(&joined).unwrap()).unwrap();
        let labels = &read.targets[1].labels;
        assert_eq!(labels["instance"], "127.0.0.1:8002");
        assert_eq!(labels["version"], "v2");
        let many = json!({"blue": ["http://a/m", "http://b/m"], "green": ["http://c/m"]});
        let error = join(&check(&json!({"targets": many})).unwrap(), &scope(&[("instance", "")]));
        assert!(error.unwrap_err().message.contains("of all its targets"));
        let own = join(&checked, &scope(&[("instance", "")])).unwrap();
        let read = Settings::read(&settings::read(&own).unwrap()).unwrap();
        assert_eq!(read.targets[0].labels["instance"], "v1", "a side may be told by it");
        let odd = check(&json!({"targets": {"bleu": ["http://a/m"]}})).unwrap();
        let error = join(&odd, &scope(&[])).unwrap_err();
        assert!(error.message.contains("no side bleu"), "{error:?}");
        let half = check(&json!({"targets": {"blue": ["http://a/m"]}})).unwrap();
        let error = join(&half, &scope(&[])).unwrap_err();
        assert!(error.message.contains("the side green has no targets"), "{error:?}");
    }
}
