//! The steps: rising weights, bakes, and the gates before them.

use std::time::Duration;

use haldane_crds::{Gate as WrittenGate, Path, Step as Written, show_duration};
use haldane_model::{Gate, GateKind, GateName, OnExpired, Step, Weight};

use crate::faults::Faults;

/// How long a step is held that does not say.
pub(crate) const BAKE: Duration = Duration::from_secs(5 * 60);
pub(crate) const DEFAULT_PERCENTS: [u32; 4] = [10, 25, 50, 100];

/// Compiles the steps, or the default ones.
pub(crate) fn compile(faults: &mut Faults<'_>) -> Vec<Step> {
    let document = faults.document;
    let Some(written) = &document.rollout.spec.steps else {
        return DEFAULT_PERCENTS.into_iter().map(default_step).collect();
    };
    let list = Path::of(&["spec", "steps"]);
    let mut steps: Vec<Step> = Vec::new();
    let mut pause: Option<Path> = None;
    for (at, written) in written.iter().enumerate() {
        let path = list.index(at);
        if let Some(weight) = written.weight {
            rises(faults, steps.last(), weight.0, &path);
            let mut step = step(faults, written, weight.0, &path);
            if pause.take().is_some() {
                step.gates.insert(0, person(at));
            }
            steps.push(step);
        } else if written.pause != Some(true) {
            faults.key(
                &path,
                "the step has no weight",
                "add `weight:`, or write only `pause: true`",
            );
        } else if written.bake.is_some()
            || written.max_bake.is_some()
            || written.mirror.is_some()
            || !written.gates.is_empty()
            || !written.checks.is_empty()
        {
            let help =
                "move `bake`, `maxBake`, `mirror`, `gates` and `checks` to the step they belong to";
            faults.key(&path, "a pause has nothing beside it", help);
        }
        if written.pause == Some(true) {
            pause = Some(path);
        }
    }
    if let Some(path) = pause {
        let help = "remove it; `watch` goes on after the last step";
        faults.key(&path.key("pause"), "no step follows this pause", help);
    }
    ends_at_full(faults, written, &steps, &list);
    steps
}

fn default_step(percent: u32) -> Step {
    let weight = Weight::from_percent(percent).expect("the default steps are shares");
    Step { weight, bake: BAKE, max_bake: None, gates: Vec::new(), mirror: None }
}

fn rises(faults: &mut Faults<'_>, before: Option<&Step>, weight: Weight, path: &Path) {
    if let Some(before) = before.filter(|before| before.weight >= weight) {
        let message =
            format!("the weight {weight} does not rise above the step before, {}", before.weight);
        faults.value(
            &path.key("weight"),
            message,
            "write the steps in rising order, each weight once",
        );
    }
}

fn ends_at_full(faults: &mut Faults<'_>, written: &[Written], steps: &[Step], list: &Path) {
    let Some(last) = steps.last() else { return };
    if last.weight == Weight::FULL {
        return;
    }
    let at = written.iter().rposition(|step| step.weight.is_some()).unwrap_or(0);
    let message = format!("the last step is {}, not 100 %", last.weight);
    let help =
        "add `- {weight: 100}` as the last step: a rollout ends with all traffic on one side";
    faults.value(&list.index(at).key("weight"), message, help);
}

fn step(faults: &mut Faults<'_>, written: &Written, weight: Weight, path: &Path) -> Step {
    let bake = written.bake.map_or(BAKE, |bake| bake.0);
    let analysed = !faults.document.rollout.spec.analysis.none;
    if bake.is_zero() && analysed {
        let help = "write how long the share is held before it may rise, such as `5m`";
        faults.value(&path.key("bake"), "a bake of `0s` leaves no time to judge", help);
    }
    let max_bake = written.max_bake.map(|wait| wait.0);
    if let Some(longest) = max_bake.filter(|longest| *longest < bake) {
        let (longest, bake) = (show_duration(longest), show_duration(bake));
        let message = format!("maxBake `{longest}` is shorter than bake `{bake}`");
        faults.value(&path.key("maxBake"), message, format!("write at least `{bake}`"));
    }
    let list = path.key("gates");
    let names: Vec<&str> = written.gates.iter().map(|gate| gate.name.as_str()).collect();
    faults.unique(&names, &list, "gate");
    let gates = written.gates.iter().enumerate();
    let gates = gates.filter_map(|(at, written)| gate(faults, written, &list.index(at))).collect();
    let mirror = written.mirror.and_then(|share| mirror(faults, share.0, weight, path));
    Step { weight, bake, max_bake, gates, mirror }
}

/// Refuses a copy of nothing, and one of what the serving side does not get any more.
fn mirror(faults: &mut Faults<'_>, share: Weight, weight: Weight, path: &Path) -> Option<Weight> {
    let path = path.key("mirror");
    if share == Weight::ZERO {
        let help = "write how much of the traffic is copied, such as `20%`, or leave it out";
        faults.value(&path, "a mirror of `0` copies nothing", help);
        return None;
    }
    if weight == Weight::FULL {
        let message = format!(
            "the mirror of {share} copies nothing at 100 %: the serving side gets no traffic"
        );
        faults.value(&path, message, "remove it, or write it at a step below 100 %");
        return None;
    }
    Some(share)
}

fn person(at: usize) -> Gate {
    let name = GateName::from(format!("pause-{at}"));
    Gate { name, kind: GateKind::Manual, expires: None, on_expired: OnExpired::Pause }
}

fn gate(faults: &mut Faults<'_>, written: &WrittenGate, path: &Path) -> Option<Gate> {
    let kinds = [
        ("manual", written.manual.is_some()),
        ("webhook", written.webhook.is_some()),
        ("window", written.window.is_some()),
    ];
    let named: Vec<&str> =
        kinds.iter().filter(|(_, there)| *there).map(|(kind, _)| *kind).collect();
    match named.as_slice() {
        ["manual"] => {}
        [kind] => {
            let message = format!("{kind} gates are not available in this version");
            faults.key(
                &path.key(kind),
                message,
                "use `manual: {}`: a person opens it with `promote`",
            );
            return None;
        }
        _ => {
            let message = format!("a gate has exactly one kind, this one has {}", named.len());
            faults.key(path, message, "write one of `manual: {}`, `webhook`, `window`");
            return None;
        }
    }
    if written.manual.as_ref().is_some_and(|manual| manual.group.is_some()) {
        let path = path.key("manual").key("group");
        faults.key(&path, "groups are not available in this version", "write `manual: {}`");
    }
    let expires = written.expires.map(|wait| wait.0);
    if expires.is_some_and(|wait| wait.is_zero()) {
        faults.value(
            &path.key("expires"),
            "a gate cannot expire at once",
            "write a time such as `1h`",
        );
    }
    let name = GateName::from(written.name.as_str());
    Some(Gate { name, kind: GateKind::Manual, expires, on_expired: OnExpired::Pause })
}
