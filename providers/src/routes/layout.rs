//! What a route object says of a rollout: which of its rules split between the two sides, and how. Pure.
//!
//! Nothing is guessed: a rule that was named and is not there, or lacks a side, is told with what to do, and
//! hides no other. What is not about the two sides is left alone and not even looked at.

use haldane_model::{Mark, Weight};
use serde_json::Value;

use super::{
    kind::{Destination, Kind, List, Said},
    mirror::{Note, Spot},
    others::{self, Writer},
};
use crate::settings::escape;

/// Conditions that not everybody fulfils.
const NARROW: [&str; 3] = ["headers", "queryParams", "sourceLabels"];

/// What of which object a rollout drives.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) picks: Picks,
    /// The rules for testers, by name or by place.
    pub(crate) testers: Picks,
    /// What serves the first side and the second.
    pub(crate) pair: [Destination; 2],
    /// The annotation that holds our mark.
    pub(crate) mark_key: String,
}

/// Which rules; where none is picked, all that have both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picks {
    /// By name, or by place, such as `#0` or `tcp#1`.
    pub(crate) named: Vec<String>,
    /// By one of the conditions they have.
    pub(crate) matching: Vec<Value>,
}

/// An object as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) resource_version: String,
    /// Changes with every change of what is asked for, and with the object itself.
    pub(crate) generation: (String, i64),
    /// Whether it has annotations at all.
    pub(crate) annotated: bool,
    /// Whether it has our annotation, whatever it says.
    pub(crate) marked: bool,
    pub(crate) mark: Option<Mark>,
    pub(crate) said: Said,
    pub(crate) writer: Option<Writer>,
    /// Another program that moves traffic by this object, and what tells so.
    pub(crate) driven_by: Option<String>,
    /// What our annotation notes of copies of ours, where it is there.
    pub(crate) note: Option<Note>,
    /// The rules that split.
    pub(crate) rules: Vec<Result<Rule, Unfit>>,
    /// The rules for testers.
    pub(crate) testers: Vec<Result<Rule, Unfit>>,
}

/// One rule that splits between the two sides.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its name, or its place where it has none.
    pub(crate) label: String,
    /// What else must hold for a patch to mean this rule: a pointer and its value.
    pub(crate) guard: (String, Value),
    /// The destinations of the first side and of the second.
    pub(crate) pair: [Backend; 2],
    /// The others that have a weight.
    pub(crate) others: Vec<(String, u64)>,
    /// Whether each of its conditions asks for a header, or something else that not everybody sends.
    pub(crate) narrow: bool,
    /// Which list it is in, and where.
    pub(crate) place: (&'static str, usize),
    /// What it copies; `None`: it never does.
    pub(crate) spot: Option<Spot>,
}

/// One destination of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) path: String,
    pub(crate) identity: Vec<(String, Value)>,
    pub(crate) weight: u64,
}

/// A rule that cannot be driven as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) label: String,
    pub(crate) why: String,
}

// === impl Target ===

impl Target {
    /// As people call it: `HTTPRoute shop/checkout`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}/{}", self.kind.name, self.namespace, self.name)
    }

    /// Reads a document of it.
    pub(crate) fn layout(&self, document: &Value) -> Layout {
        let text = |at: &str| document.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let generation = document.pointer("/metadata/generation").and_then(Value::as_i64);
        let annotations = document.pointer("/metadata/annotations");
        let mark = annotations.and_then(|all| all.get(&self.mark_key));
        let note = annotations.and_then(|all| all.get(self.mirror_key()));
        let note = note.map(|note| Note::parse(note.as_str().unwrap_or_default()));
        let (rules, testers) = self.rules(document, note.is_some());
        Layout {
            resource_version: text("/metadata/resourceVersion").to_owned(),
            generation: (text("/metadata/uid").to_owned(), generation.unwrap_or_default()),
            annotated: annotations.is_some_and(Value::is_object),
            marked: mark.is_some(),
            mark: mark.and_then(Value::as_str).and_then(Mark::parse),
            said: (self.kind.said)(document, &self.namespace),
            writer: others::writer(document, self.kind),
            driven_by: others::driver(document, self.kind),
            note,
            rules,
            testers,
        }
    }

    /// The annotation that says that copies are ours.
    pub(crate) fn mirror_key(&self) -> String {
        self.mark_key.replacen("mark.", "mirror.", 1)
    }

    fn rules(&self, document: &Value, noted: bool) -> (Found, Found) {
        let (mut rules, mut testers) = (Vec::new(), Vec::new());
        let mut used = vec![false; self.picks.len()];
        let mut tested = vec![false; self.testers.len()];
        for list in self.kind.lists {
            let there =
                document.pointer(&format!("/spec/{}", list.field)).and_then(Value::as_array);
            for (index, rule) in there.into_iter().flatten().enumerate() {
                let place = format!("{}#{index}", list.word);
                let picked = self.picks.of(list, rule, &place, &mut used);
                if self.testers.of(list, rule, &place, &mut tested) {
                    testers.push(self.rule(list, rule, index, place.clone(), noted));
                    if picked {
                        let why =
                            "it is named among the testers' as well; leave it in one of the two";
                        rules.push(Err(Unfit { label: place, why: why.to_owned() }));
                    }
                } else if picked || (self.picks.is_empty() && self.has_both(list, rule)) {
                    rules.push(self.rule(list, rule, index, place, noted));
                }
            }
        }
        rules.extend(self.picks.missing(&used).map(Err));
        testers.extend(self.testers.missing(&tested).map(Err));
        if rules.is_empty() {
            rules.push(Err(Unfit { label: "rules".to_owned(), why: self.none_has_both() }));
        }
        (rules, testers)
    }

    fn places<'a>(
        &'a self,
        list: &List,
        rule: &'a Value,
        side: usize,
    ) -> impl Iterator<Item = (usize, &'a Value)> {
        let backends = rule.get(list.backends).and_then(Value::as_array);
        let destination = &self.pair[side];
        backends
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(_, backend)| destination.is(backend, &self.namespace))
    }

    fn has_both(&self, list: &List, rule: &Value) -> bool {
        (0..2).all(|side| self.places(list, rule, side).next().is_some())
    }

    fn none_has_both(&self) -> String {
        let [first, second] = &self.pair;
        let fields = self.kind.lists[0].backends;
        format!(
            "no rule names both {first} and {second} under {fields}; add the one that is missing with \
             weight 0, or correct destinations"
        )
    }

    fn rule(
        &self,
        list: &'static List,
        rule: &Value,
        at: usize,
        place: String,
        noted: bool,
    ) -> Result<Rule, Unfit> {
        let name = rule.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let label = name.map_or(place, ToOwned::to_owned);
        let path = format!("/spec/{}/{at}", list.field);
        // What has no name is known by what it takes.
        let field = if name.is_some() { "name" } else { list.matches };
        let guard = (format!("{path}/{field}"), rule.get(field).cloned().unwrap_or(Value::Null));
        let mut pair = Vec::with_capacity(2);
        let mut written = Vec::with_capacity(2);
        let mut taken = Vec::with_capacity(2);
        for (side, destination) in self.pair.iter().enumerate() {
            let mut found = self.places(list, rule, side);
            let why = match (found.next(), found.next()) {
                (Some((index, backend)), None) => {
                    taken.push(index);
                    written.push(backend);
                    pair.push(Backend {
                        path: format!("{path}/{}/{index}", list.backends),
                        identity: destination.identity(backend),
                        weight: list.weight(backend),
                    });
                    continue;
                }
                (None, _) => format!(
                    "{destination} is not among its {}; add it with weight 0, or correct destinations",
                    list.backends
                ),
                (Some(_), Some(_)) => format!(
                    "{destination} is more than once among its {}; leave one, or name host, subset and \
                     port in destinations",
                    list.backends
                ),
            };
            return Err(Unfit { label, why });
        }
        let backends = rule.get(list.backends).and_then(Value::as_array);
        let others =
            backends.into_iter().flatten().enumerate().filter(|(at, _)| !taken.contains(at));
        let others = others.map(|(_, backend)| (called(backend), list.weight(backend)));
        let others = others.filter(|(_, weight)| *weight > 0).collect();
        let pair = pair.try_into().expect("one for each side");
        let written: [&Value; 2] = written.try_into().expect("one for each side");
        let spot = list
            .mirror
            .map(|form| Spot::of(form, rule, path, &self.pair, written, &self.namespace, noted));
        let (narrow, place) = (is_narrow(list, rule), (list.field, at));
        Ok(Rule { label, guard, pair, others, narrow, place, spot })
    }
}

/// Rules, and what is wrong with others.
type Found = Vec<Result<Rule, Unfit>>;

fn is_narrow(list: &List, rule: &Value) -> bool {
    let conditions = rule.get(list.matches).and_then(Value::as_array);
    let is_some = |value: &Value| match value {
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let asks = |one: &Value| NARROW.iter().any(|field| one.get(*field).is_some_and(is_some));
    conditions.is_some_and(|all| !all.is_empty() && all.iter().all(asks))
}

fn called(backend: &Value) -> String {
    let text = |at: &str| backend.pointer(at).and_then(Value::as_str);
    let subset = text("/destination/subset").map(|subset| format!("/{subset}")).unwrap_or_default();
    format!("{}{subset}", text("/name").or_else(|| text("/destination/host")).unwrap_or("another"))
}

// === impl Picks ===

impl Picks {
    fn len(&self) -> usize {
        self.named.len() + self.matching.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a rule is picked; notes by what. A name goes before a place.
    fn of(&self, list: &List, rule: &Value, place: &str, used: &mut [bool]) -> bool {
        let name = rule.get("name").and_then(Value::as_str);
        let conditions = match rule.get(list.matches) {
            Some(Value::Array(conditions)) => conditions.as_slice(),
            Some(_) | None => &[],
        };
        let mut picked = false;
        for (pick, used) in self.named.iter().zip(used.iter_mut()) {
            if name == Some(pick) || place == pick || (place == format!("http{pick}")) {
                (*used, picked) = (true, true);
            }
        }
        for (pick, used) in self.matching.iter().zip(used.iter_mut().skip(self.named.len())) {
            if conditions.contains(pick) {
                (*used, picked) = (true, true);
            }
        }
        picked
    }

    fn missing(&self, used: &[bool]) -> impl Iterator<Item = Unfit> {
        let named = self.named.iter().cloned();
        let matching = self.matching.iter().map(|pick| format!("a rule matching {pick}"));
        let unused = named.chain(matching).zip(used).filter(|(_, used)| !**used);
        unused.map(|(label, _)| Unfit {
            why:
                "there is no such rule; correct the name, or leave it out for every rule that has \
                  both sides"
                    .to_owned(),
            label,
        })
    }
}

// === impl Layout ===

impl Layout {
    /// The testers' rules that can be driven.
    pub(crate) fn testers(&self) -> impl Iterator<Item = &Rule> {
        self.testers.iter().filter_map(|rule| rule.as_ref().ok())
    }

    /// Returns the side that has all of the traffic: 0 or 1.
    pub(crate) fn serving(&self) -> Option<usize> {
        let mut shares = self.fit().map(Rule::share);
        let first = shares.next()?.ok()?;
        let is_all = shares.all(|share| share == Ok(first));
        match first {
            _ if !is_all => None,
            Weight::ZERO => Some(0),
            Weight::FULL => Some(1),
            _ => None,
        }
    }

    /// The rules that can be driven.
    pub(crate) fn fit(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter_map(|rule| rule.as_ref().ok())
    }

    /// What is wrong with the others, in one line; none where all are fit.
    pub(crate) fn complaints(&self) -> Option<String> {
        let unfit = self.rules.iter().filter_map(|rule| rule.as_ref().err());
        let told: Vec<String> =
            unfit.map(|unfit| format!("{}: {}", unfit.label, unfit.why)).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

// === impl Rule ===

impl Rule {
    /// Returns the second side's share of what the two sides get; only nothing is 0, only all is 100 %.
    pub(crate) fn share(&self) -> Result<Weight, String> {
        let [first, second] = self.pair.each_ref().map(|backend| backend.weight);
        let full = u64::from(Weight::FULL.basis_points());
        let points = match (first, second) {
            (0, 0) => {
                return Err("the weights of both sides are 0; give one of them a weight".to_owned());
            }
            (_, 0) => 0,
            (0, _) => full,
            (first, second) => {
                let sum = u128::from(first) + u128::from(second);
                let points = (u128::from(second) * u128::from(full) + sum / 2) / sum;
                u64::try_from(points).unwrap_or(full).clamp(1, full - 1)
            }
        };
        let points = u32::try_from(points).unwrap_or(u32::MAX);
        Weight::from_basis_points(points).map_err(|error| error.to_string())
    }
}

/// Returns the annotation of the rollout whose first side this serves: no two share a destination.
pub(crate) fn mark_key(first: &Destination) -> String {
    const NAME_MAX: usize = 63;
    let whole = first.to_string();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '.' };
    let name: String = whole.chars().map(plain).collect();
    let name = name.trim_matches('.');
    if name.len() <= NAME_MAX
        && whole.chars().all(|c| c.is_ascii_alphanumeric() || ":/-.".contains(c))
    {
        let name: String = whole.chars().map(|c| if ":/".contains(c) { '.' } else { c }).collect();
        let name = name.trim_matches(['.', '-']);
        return format!("mark.haldane.dev/{name}");
    }
    // FNV-1a: it tells names apart, no more.
    let hash = whole
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let name: String = name.chars().take(NAME_MAX - 9).collect();
    format!("mark.haldane.dev/{}.{hash:08x}", name.trim_matches('.'))
}

/// Writes a pointer to an annotation.
pub(crate) fn annotation(key: &str) -> String {
    format!("/metadata/annotations/{}", escape(key))
}
