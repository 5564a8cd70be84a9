//! What accompanies the split in one object: the weights of testers' rules, and copies. Pure.
//!
//! Only what is not as wished is patched, and what cannot be is told beside what can. Taking something off
//! never fails for want of something else.

use haldane_model::{Accompanied, Company, Mirror, SideName, Weight};
use serde_json::{Value, json};

use super::{
    layout::{Layout, Rule, Target, annotation},
    mirror::{Copies, Note},
    patch::{add, set, structure, test},
};

/// What is wished, by the places of the sides in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Escort {
    /// Whom testers get; `None`: as it is.
    pub(crate) testers: Option<usize>,
    /// Whom copies go to, and how many.
    pub(crate) mirror: Option<(usize, Weight)>,
}

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) operations: Vec<Value>,
    pub(crate) complaints: Vec<String>,
}

// === impl Escort ===

impl Escort {
    pub(crate) fn of(company: &Company, second: &SideName) -> Self {
        let side = |name: &SideName| usize::from(name == second);
        let mirror = company.mirror.as_ref().map(|mirror| (side(&mirror.to), mirror.share));
        Self { testers: Some(side(&company.testers)), mirror }
    }

    /// Returns what makes an object so; nothing where it is so already.
    pub(crate) fn steps(&self, target: &Target, layout: &Layout) -> Steps {
        let mut steps = Steps::default();
        if let Some(side) = self.testers {
            testers(side, target, layout, &mut steps);
        }
        match self.mirror {
            Some((side, share)) => copy(side, share, target, layout, &mut steps),
            None => stop_copying(target, layout, &mut steps),
        }
        steps
    }
}

fn testers(side: usize, target: &Target, layout: &Layout, steps: &mut Steps) {
    let to_all = layout.serving() == Some(side);
    for rule in &layout.testers {
        match rule {
            Err(_) if to_all => {}
            Err(unfit) => steps.complaints.push(format!("{}: {}", unfit.label, unfit.why)),
            Ok(rule) if !rule.narrow && !to_all => steps.complaints.push(takes_everybody(rule)),
            Ok(rule) => {
                let wanted = all_to(side, target, rule);
                if rule.pair.each_ref().map(|backend| backend.weight) != wanted {
                    steps.operations.extend(structure(rule));
                    steps.operations.extend(set(rule, wanted));
                }
            }
        }
    }
}

/// What a person must do about a rule for testers that others match as well.
pub(crate) fn takes_everybody(rule: &Rule) -> String {
    format!(
        "{}: it is for testers, and takes requests of others too; give each of its matches a header or a \
         cookie, or take it out of testers",
        rule.label
    )
}

/// The weights that give everything of the two sides to one; what else the rule names keeps its share.
fn all_to(side: usize, target: &Target, rule: &Rule) -> [u64; 2] {
    let sum = rule.pair.iter().map(|backend| backend.weight).sum::<u64>().max(1);
    let all = if rule.others.is_empty() { target.kind.full } else { sum };
    // What is everything already stays as it is written.
    let [own, other] = [side, 1 - side].map(|at| rule.pair[at].weight);
    let all = if other == 0 && own > 0 { own } else { all };
    if side == 0 { [all, 0] } else { [0, all] }
}

fn copy(side: usize, share: Weight, target: &Target, layout: &Layout, steps: &mut Steps) {
    let mut note = layout.note.clone().unwrap_or_default();
    let mut copies = false;
    for rule in layout.fit() {
        let Some(spot) = &rule.spot else {
            let why = "it routes connections, which cannot be copied; name the HTTP routes alone, or remove \
                       `mirror` from the steps";
            steps.complaints.push(format!("{}: {why}", rule.label));
            continue;
        };
        match &spot.copies {
            Copies::Theirs(to) => {
                steps.complaints.push(has_its_own(rule, to));
                continue;
            }
            Copies::Ours { side: there, share: much } if (*there, *much) == (side, share) => {}
            Copies::Ours { .. } | Copies::Nothing => {
                let (path, value) = &rule.guard;
                steps.operations.push(test(path, value));
                steps.operations.extend(spot.put(side, share));
                if spot.has_empty_list() && !note.emptied.contains(&rule.label) {
                    note.emptied.push(rule.label.clone());
                }
            }
        }
        copies = true;
    }
    if copies && (!steps.operations.is_empty() || layout.note.is_none()) {
        sign(&note, share, target, layout, steps);
    }
}

/// What a person must do about a mirror of the user's own.
pub(crate) fn has_its_own(rule: &Rule, to: &str) -> String {
    format!(
        "{}: it has a mirror of its own, to {to}; take that out, or remove `mirror` from the steps",
        rule.label
    )
}

fn sign(note: &Note, share: Weight, target: &Target, layout: &Layout, steps: &mut Steps) {
    let (key, text) = (target.mirror_key(), note.text(share));
    if layout.annotated {
        steps.operations.push(add(annotation(&key), json!(text)));
    } else {
        steps.operations.push(test("/metadata/annotations", &Value::Null));
        steps.operations.push(add("/metadata/annotations".to_owned(), json!({key: text})));
    }
}

fn stop_copying(target: &Target, layout: &Layout, steps: &mut Steps) {
    let Some(note) = &layout.note else { return };
    for rule in layout.fit() {
        let spot = rule.spot.as_ref().filter(|spot| matches!(spot.copies, Copies::Ours { .. }));
        if let Some(spot) = spot {
            let (path, value) = &rule.guard;
            steps.operations.push(test(path, value));
            steps.operations.extend(spot.take(note.emptied.contains(&rule.label)));
        }
    }
    // A rule that cannot be looked at may have a copy of ours still: then it is known by this later.
    if layout.complaints().is_none() {
        steps.operations.push(json!({"op": "remove", "path": annotation(&target.mirror_key())}));
    }
}

// === reading ===

/// Returns whom each rule for testers gives everything to.
pub(crate) fn whom(layout: &Layout, sides: [&SideName; 2]) -> Vec<Accompanied> {
    let side = |rule: &Rule| match rule.share() {
        Ok(Weight::ZERO) => Some(sides[0].clone()),
        Ok(Weight::FULL) => Some(sides[1].clone()),
        Ok(_) | Err(_) => None,
    };
    layout.testers().map(|rule| Accompanied::Testers(side(rule))).collect()
}

/// Returns what each rule copies that could; `None`: nothing of ours.
pub(crate) fn copies(layout: &Layout, sides: [&SideName; 2]) -> Vec<Option<Mirror>> {
    let spots = layout.fit().filter_map(|rule| rule.spot.as_ref());
    let mirror = |copies: &Copies| match copies {
        Copies::Ours { side, share } => Some(Mirror { to: sides[*side].clone(), share: *share }),
        Copies::Nothing | Copies::Theirs(_) => None,
    };
    spots.map(|spot| mirror(&spot.copies)).collect()
}
