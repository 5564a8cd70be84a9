//! How a rule copies requests: two fields of an Istio route, or a filter of a Gateway API rule. Pure.
//!
//! What is ours is known by our annotation and by where it goes; anything else is somebody's own, and is
//! never replaced or taken away.

use haldane_model::Weight;
use serde_json::{Value, json};

use super::kind::Destination;

/// How a kind of rule says that it copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `mirror` and `mirrorPercentage` beside the destinations.
    Fields,
    /// A filter of the type `RequestMirror`, last among `filters`.
    Filter,
}

/// What a rule copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// Nothing.
    Nothing,
    /// What we asked for: to the first side (0) or the second (1), and how much.
    Ours {
        /// Which of the two.
        side: usize,
        /// How much.
        share: Weight,
    },
    /// What somebody else asked for: where it goes.
    Theirs(String),
}

/// Where in an object a rule says what it copies.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) copies: Copies,
    form: Form,
    /// The rule.
    path: String,
    /// How each of the two sides is named there.
    to: [Value; 2],
    /// What is ours, each with its pointer.
    there: Vec<(String, Value)>,
    /// How many filters the rule has, where it has a list of them.
    filters: Option<usize>,
}

/// What our annotation notes: that copies are ours, and which rules had an empty list of filters before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) emptied: Vec<String>,
}

/// Fields by which Istio says that a route copies.
const FIELDS: [&str; 5] =
    ["mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "mirror_percent"];

// === impl Spot ===

impl Spot {
    /// Looks at a rule. `backends` are its two destinations as they are written there.
    pub(crate) fn of(
        form: Form,
        rule: &Value,
        path: String,
        pair: &[Destination; 2],
        backends: [&Value; 2],
        namespace: &str,
        noted: bool,
    ) -> Self {
        let to = match form {
            Form::Fields => backends.map(|backend| backend["destination"].clone()),
            Form::Filter => backends.map(reference),
        };
        let filters = rule.get("filters").and_then(Value::as_array).map(Vec::len);
        let mut spot = Self { copies: Copies::Nothing, form, path, to, there: Vec::new(), filters };
        match form {
            Form::Fields => spot.see_fields(rule, noted),
            Form::Filter => spot.see_filters(rule, pair, namespace, noted),
        }
        spot
    }

    fn see_fields(&mut self, rule: &Value, noted: bool) {
        let mirror = rule.get("mirror").filter(|_| noted && rule.get("mirrors").is_none());
        let side = mirror.and_then(|mirror| self.to.iter().position(|to| to == mirror));
        if let Some(side) = side {
            let share = rule.pointer("/mirrorPercentage/value").and_then(Value::as_f64);
            self.copies = Copies::Ours { side, share: share.map_or(Weight::FULL, percent) };
            let there = ["mirror", "mirrorPercentage"].into_iter();
            let there = there
                .filter_map(|field| Some((format!("{}/{field}", self.path), rule.get(field)?)));
            self.there = there.map(|(path, value)| (path, value.clone())).collect();
        } else if FIELDS.iter().any(|field| rule.get(*field).is_some()) {
            let host = rule.pointer("/mirror/host").and_then(Value::as_str);
            self.copies = Copies::Theirs(host.unwrap_or("somewhere else").to_owned());
        }
    }

    fn see_filters(&mut self, rule: &Value, pair: &[Destination; 2], namespace: &str, noted: bool) {
        let Some(filters) = rule.get("filters").and_then(Value::as_array) else { return };
        let mirrors = filters.iter().enumerate();
        // The last first: ours was put at the end.
        for (at, filter) in mirrors.filter(|(_, filter)| filter["type"] == "RequestMirror").rev() {
            let mirror = &filter["requestMirror"];
            let to = &mirror["backendRef"];
            let side = pair.iter().position(|side| noted && side.is(to, namespace));
            if let Some(side) = side {
                self.copies = Copies::Ours { side, share: share(mirror) };
                self.there = vec![(format!("{}/filters/{at}", self.path), filter.clone())];
                return;
            }
            if self.copies == Copies::Nothing {
                let name = to["name"].as_str().unwrap_or("somewhere else");
                self.copies = Copies::Theirs(name.to_owned());
            }
        }
    }

    /// Returns the operations that make it copy so much to this side.
    pub(crate) fn put(&self, side: usize, share: Weight) -> Vec<Value> {
        let (path, to) = (&self.path, &self.to[side]);
        match (self.form, self.there.first(), self.filters) {
            (Form::Fields, _, _) => vec![
                json!({"op": "add", "path": format!("{path}/mirror"), "value": to}),
                json!({"op": "add", "path": format!("{path}/mirrorPercentage"), "value": {"value": number(share)}}),
            ],
            (Form::Filter, Some((there, _)), _) => {
                vec![json!({"op": "replace", "path": there, "value": filter(to, share)})]
            }
            (Form::Filter, None, Some(_)) => {
                vec![
                    json!({"op": "add", "path": format!("{path}/filters/-"), "value": filter(to, share)}),
                ]
            }
            (Form::Filter, None, None) => {
                vec![
                    json!({"op": "add", "path": format!("{path}/filters"), "value": [filter(to, share)]}),
                ]
            }
        }
    }

    /// Returns the operations that take away what is ours, if it is as it was read; `emptied`: the list of
    /// filters was there before, and empty.
    pub(crate) fn take(&self, emptied: bool) -> Vec<Value> {
        let list = format!("{}/filters", self.path);
        if self.form == Form::Filter && self.filters == Some(1) && !emptied {
            let only: Vec<&Value> = self.there.iter().map(|(_, value)| value).collect();
            return vec![
                json!({"op": "test", "path": list, "value": only}),
                json!({"op": "remove", "path": list}),
            ];
        }
        let each = self.there.iter().flat_map(|(path, value)| {
            [
                json!({"op": "test", "path": path, "value": value}),
                json!({"op": "remove", "path": path}),
            ]
        });
        each.collect()
    }

    /// Whether it has a list of filters that is empty.
    pub(crate) fn has_empty_list(&self) -> bool {
        self.form == Form::Filter && self.filters == Some(0)
    }
}

// === impl Note ===

impl Note {
    /// Reads an annotation; what nobody of us wrote notes nothing more than that it is there.
    pub(crate) fn parse(text: &str) -> Self {
        let labels = text.split_once(' ').map(|(_, labels)| labels).unwrap_or_default();
        let labels = labels.split(',').filter(|label| !label.is_empty());
        Self { emptied: labels.map(ToOwned::to_owned).collect() }
    }

    /// Writes it, with how much is copied for people.
    pub(crate) fn text(&self, share: Weight) -> String {
        let share = share.to_string().replace(' ', "");
        match self.emptied.is_empty() {
            true => share,
            false => format!("{share} {}", self.emptied.join(",")),
        }
    }
}

/// A Service as a filter names it, with what a server would fill in.
fn reference(backend: &Value) -> Value {
    json!({"group": "", "kind": "Service", "name": backend["name"], "port": backend["port"]})
}

/// A filter; all is said by saying nothing, which the oldest servers take as well.
fn filter(to: &Value, share: Weight) -> Value {
    let mut mirror = json!({"backendRef": to});
    let points = share.basis_points();
    if points.is_multiple_of(100) && share != Weight::FULL {
        mirror["percent"] = json!(points / 100);
    } else if share != Weight::FULL {
        mirror["fraction"] = json!({"numerator": points, "denominator": 10_000});
    }
    json!({"type": "RequestMirror", "requestMirror": mirror})
}

/// How much a filter copies.
fn share(mirror: &Value) -> Weight {
    let number = |at: &str| mirror.pointer(at).and_then(Value::as_f64);
    match (number("/percent"), number("/fraction/numerator")) {
        (Some(whole), _) => percent(whole),
        (None, Some(part)) => {
            percent(part * 100.0 / number("/fraction/denominator").unwrap_or(100.0).max(1.0))
        }
        (None, None) => Weight::FULL,
    }
}

fn percent(value: f64) -> Weight {
    let points = (value * 100.0).round().clamp(0.0, 10_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a share may be"
    )]
    Weight::from_basis_points(points as u32).unwrap_or(Weight::FULL)
}

/// Whole percent as whole numbers, as people write them.
fn number(share: Weight) -> Value {
    match share.basis_points() {
        points if points.is_multiple_of(100) => json!(points / 100),
        points => json!(f64::from(points) / 100.0),
    }
}
