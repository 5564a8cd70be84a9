//! The traffic entries: each with exactly one provider, whose settings the provider checks.

use haldane_crds::{Follow as WrittenFollow, Path, Traffic};
use haldane_model::{Entry, EntryName, Follow, SideName};
use haldane_providers::{ProviderEntry, Scope, Sides, overlap};
use serde_json::Value;

use crate::{Registries, faults::Faults, hash};

/// The entries, and what they drive.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<Entry>,
    pub(crate) targets: Vec<String>,
    /// The first entry that cannot copy traffic, and why.
    unable: Option<String>,
}

/// Compiles the traffic entries.
pub(crate) fn compile(faults: &mut Faults<'_>, registries: &Registries<'_>) -> Entries {
    let spec = &faults.document.rollout.spec;
    let list = Path::of(&["spec", "traffic"]);
    let names: Vec<&str> = spec.traffic.iter().map(|entry| entry.name.as_str()).collect();
    faults.unique(&names, &list, "traffic entry");
    let mut compiled = Entries::default();
    for (at, written) in spec.traffic.iter().enumerate() {
        follow(faults, written, &list.index(at));
        entry(faults, registries, written, &list.index(at), &mut compiled);
    }
    mirrors(faults, &compiled);
    compiled
}

/// Refuses copies of traffic that an entry cannot make: they would be missing unseen.
fn mirrors(faults: &mut Faults<'_>, compiled: &Entries) {
    let Some(unable) = &compiled.unable else { return };
    let steps = faults.document.rollout.spec.steps.iter().flatten();
    let copies = steps.enumerate().filter_map(|(at, step)| Some((at, step.mirror?.0)));
    for (at, share) in copies.collect::<Vec<_>>() {
        let path = Path::of(&["spec", "steps"]).index(at).key("mirror");
        let message = format!("the mirror of {share} cannot be: traffic entry {unable}");
        let help = "remove `mirror`, or drive that traffic by HTTP routes of istio or gateway";
        faults.value(&path, message, help);
    }
}

/// Refuses an entry that does not carry the steps itself: nothing here would open and close it.
fn follow(faults: &mut Faults<'_>, written: &Traffic, path: &Path) {
    match written.follow {
        Some(WrittenFollow::Open) => faults.key(
            &path.key("follow"),
            "entries that follow another one are not available in this version",
            "remove this entry, and open what stands behind the other to both sides by hand before \
             the rollout; shares of entries that both step would multiply",
        ),
        Some(WrittenFollow::Steps) | None => {}
    }
}

fn entry(
    faults: &mut Faults<'_>,
    registries: &Registries<'_>,
    written: &Traffic,
    path: &Path,
    compiled: &mut Entries,
) {
    let known: Vec<&str> = registries.providers.iter().map(|row| row.kind).collect();
    let Some((kind, settings)) = only_kind(faults, &written.kinds, path, "provider", &known) else {
        return;
    };
    let Some(row) = registries.providers.iter().find(|row| row.kind == kind) else { return };
    let path = path.key(kind);
    let Some(settings) = checked(faults, row, settings, &path) else { return };
    for target in (row.targets)(&settings) {
        if compiled.targets.iter().any(|other| overlap(other, &target)) {
            let message = format!("another entry of this rollout drives `{target}` already");
            faults.key(&path, message, "remove one of the two entries");
        }
        compiled.targets.push(target);
    }
    let capabilities = (row.capabilities)(&settings);
    if !capabilities.mirroring && compiled.unable.is_none() {
        let why = format!(
            "{} is {}, which cannot copy traffic with these settings",
            written.name.as_str(),
            row.kind
        );
        compiled.unable = Some(why);
    }
    compiled.entries.push(Entry {
        name: EntryName::from(written.name.as_str()),
        kind: row.kind.into(),
        settings: hash::canonical(&settings).to_string().into(),
        follow: Follow::Steps,
        signed: capabilities.signed,
        write_deadline: capabilities.write_deadline,
    });
}

fn checked(
    faults: &mut Faults<'_>,
    row: &ProviderEntry,
    settings: &Value,
    path: &Path,
) -> Option<Value> {
    let [first, second] = faults.document.rollout.spec.sides.as_slice() else { return None };
    let (first, second) = (first.name.as_str(), second.name.as_str());
    let destinations = settings.get("destinations").and_then(Value::as_object);
    let strangers: Vec<&String> = destinations
        .into_iter()
        .flat_map(|destinations| destinations.keys())
        .filter(|side| *side != first && *side != second)
        .collect();
    for side in &strangers {
        let path = path.key("destinations").key(side);
        faults.unknown(&path, "side", side, &[first, second]);
    }
    let sides = Sides { first: SideName::from(first), second: SideName::from(second) };
    let namespace = faults.document.rollout.metadata.namespace.as_ref();
    let namespace = namespace.map_or("default", |name| name.as_str());
    match (row.check)(settings, Scope { namespace, sides: &sides }) {
        Ok(settings) => strangers.is_empty().then_some(settings),
        Err(errors) => {
            for error in errors {
                let at = path.pointer(&error.path);
                // A destination under a wrong name is told once, not once more as one that is missing.
                if strangers.is_empty() || !path.key("destinations").holds(&at) {
                    faults.settings(path, &error.path, error.message, error.help);
                }
            }
            None
        }
    }
}

/// The one kind that an entry, a source or a check names.
pub(crate) fn only_kind<'a>(
    faults: &mut Faults<'_>,
    kinds: &'a std::collections::BTreeMap<String, Value>,
    path: &Path,
    what: &str,
    known: &[&str],
) -> Option<(&'a str, &'a Value)> {
    let list = known.join(", ");
    for kind in kinds.keys().filter(|kind| !known.contains(&kind.as_str())) {
        faults.unknown(&path.key(kind), what, kind, known);
    }
    let mut named = kinds.iter().filter(|(kind, _)| known.contains(&kind.as_str()));
    match (named.next(), named.next()) {
        (Some((kind, settings)), None) => Some((kind, settings)),
        (Some(_), Some((second, _))) => {
            let message = format!("there must be exactly one {what}, here are several");
            faults.key(&path.key(second), message, format!("keep one of {list}"));
            None
        }
        (None, _) => {
            if kinds.is_empty() {
                faults.key(path, format!("the {what} is missing"), format!("add one of {list}"));
            }
            None
        }
    }
}
