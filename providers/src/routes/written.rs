//! What the written forms of all routes have in common.

use super::kind::Destination;
use crate::{
    Sides, overlap,
    settings::{Faults, escape},
};

/// Refuses what cannot be the name of an object, and would leave its place in a path.
pub(crate) fn name(faults: &mut Faults, path: String, what: &str, name: &str) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() > 253
        || !name.chars().all(plain)
        || !name.starts_with(edge)
        || !name.ends_with(edge)
    {
        faults.add(
            path,
            format!("{what} {name:?} must consist of lower-case letters, digits, - and ."),
            "write the name that kubectl shows",
        );
    }
}

/// Refuses rules without a name, and one that is named twice.
pub(crate) fn rules(faults: &mut Faults, path: &str, rules: &[String]) {
    for (at, rule) in rules.iter().enumerate() {
        if rule.is_empty() || rules[..at].contains(rule) {
            let message = format!("rule {rule:?} is empty or named twice");
            faults.add(format!("{path}/{at}"), message, "name each rule once");
        }
    }
}

/// Refuses rules for testers that are named twice, split as well, or take connections.
pub(crate) fn testers(faults: &mut Faults, path: &str, testers: &[String], rules: &[String]) {
    self::rules(faults, path, testers);
    for (at, rule) in testers.iter().enumerate() {
        let path = format!("{path}/{at}");
        if rules.contains(rule) {
            let message = format!("rule {rule:?} is one that splits as well");
            faults.add(path, message, "name it in one of the two: testers get one side alone");
        } else if rule.starts_with("tcp#") || rule.starts_with("tls#") {
            let message = format!("rule {rule:?} takes connections, and knows no testers");
            faults.add(
                path,
                message,
                "name http routes, whose match asks for a header or a cookie",
            );
        }
    }
}

/// Returns the namespace of everything that is named: the rollout's own.
pub(crate) fn namespace(
    faults: &mut Faults,
    written: Option<&str>,
    own: Option<&str>,
) -> Option<String> {
    let found = match (written, own) {
        (Some(written), Some(own)) if written != own => {
            faults.add(
                "/namespace",
                format!("namespace {written:?} is not the rollout's own, {own:?}"),
                "a rollout drives what lies in its own namespace: remove this line, or correct \
                 metadata.namespace",
            );
            written
        }
        (Some(found), _) | (None, Some(found)) => found,
        (None, None) => {
            faults.add("/namespace", "the namespace is missing".into(), "write the rollout's own");
            return None;
        }
    };
    name(faults, "/namespace".into(), "namespace", found);
    Some(found.to_owned())
}

/// Refuses one destination for both sides, however it is spelled; what is pinned already, without a namespace given,
/// only where both are written alike.
pub(crate) fn differ(
    faults: &mut Faults,
    sides: &Sides,
    [first, second]: &[Destination; 2],
    own: Option<&str>,
) {
    let overlaps = |own: &str| overlap(&first.claimed(own), &second.claimed(own));
    if first == second || own.is_some_and(overlaps) {
        faults.add(
            format!("/destinations/{}", escape(sides.second.as_str())),
            format!("both sides are served by {first}"),
            "give each side a destination of its own",
        );
    }
}
