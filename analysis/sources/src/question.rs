//! What a check asks of a source: queries with everything resolved but the window.
//!
//! A question is pinned with the plan as JSON and holds both assignments of the roles, so that a
//! look never needs a template, and a rollback of a pinned plan never needs anything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use haldane_model::Revision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    SettingsError, TemplateScope,
    counters::Measure,
    promql, settings,
    templates::{Role, Template},
};

/// One query, as the pieces between which the window stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Query(pub Vec<String>);

/// A text with everything resolved but what only a look knows: every second piece, between marks that no
/// person can write, is the name of what is filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

/// What one check asks, by the side that is on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What is asked where this side is `canary`.
    pub sides: BTreeMap<String, SideQuestion>,
    /// Whether the same may be asked with the roles exchanged, to know what the serving side has.
    pub exchange: bool,
}

/// What is asked about one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideQuestion {
    /// The labels that tell its series apart; they find its targets.
    pub labels: BTreeMap<String, String>,
    /// The number in question.
    pub ask: Ask,
}

/// The number in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Ask {
    /// Two counts, divided by the judge.
    Ratio {
        /// All.
        total: Query,
        /// The bad ones.
        bad: Query,
    },
    /// One number.
    Value {
        /// The number.
        value: Query,
        /// How many samples it rests on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<Query>,
    },
    /// The counters of both sides, to compare them.
    Counted(Counted),
    /// One number, in the language of the source.
    Own {
        /// The number.
        value: Text,
        /// How many samples it rests on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<Text>,
    },
    /// One number of a document of JSON.
    Document(Document),
    /// Whether somebody outside says yes.
    Consent {
        /// How it is asked.
        request: HttpRequest,
        /// Which rollout: its namespace and its name.
        rollout: String,
    },
}

/// A document to ask for, and which number of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// How it is asked for.
    pub request: HttpRequest,
    /// A JSONPath to the values that matter; without one it is the whole document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_path: Option<String>,
    /// A CEL expression that makes a number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// A request over HTTP, with what only a look knows left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRequest {
    /// `GET`, `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// The address, or what follows that of the source.
    pub url: Text,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
}

/// Counters of one side, as selectors of raw samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counted {
    /// All requests, or the histograms: a selector, which may find both sides at once.
    pub select: String,
    /// The bad requests, where they have series of their own: a selector likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<String>,
    /// Which of the series found are this side's; an empty value means that there is no such label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, String>,
    /// What is counted.
    pub measure: Measure,
    /// How many of the histograms' units one second has: 1000 where they count milliseconds.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub per_second: u32,
    /// How long a process that appears is not counted, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warm_up_secs: u32,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a side is asked for its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevisionQuestion {
    /// A query whose series carry the revision, such as `app_build_info{side="blue"}`.
    pub promql: String,
    /// The label that holds it, such as `version`.
    pub label: String,
}

// === impl RevisionQuestion ===

impl RevisionQuestion {
    /// Reads what a plan has pinned.
    pub(crate) fn pinned(question: &str) -> Result<Self, String> {
        serde_json::from_str(question)
            .map_err(|error| format!("the pinned revision query cannot be read: {error}"))
    }

    /// Returns the revisions that series show, each once; every series must show one.
    pub(crate) fn shown<'a>(
        &self,
        series: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
    ) -> Result<Vec<Revision>, String> {
        let label = &self.label;
        let revisions: Result<BTreeSet<Revision>, String> = series
            .into_iter()
            .map(|labels| match labels.get(label) {
                Some(value) => Ok(Revision::from(value.as_str())),
                None => {
                    let labels = promql::matchers(labels);
                    Err(format!("a series has no label {label}, only {{{labels}}}"))
                }
            })
            .collect();
        Ok(revisions?.into_iter().collect())
    }
}

// === impl Query ===

impl Query {
    /// Returns the query for a window.
    #[must_use]
    pub fn text(&self, window: Duration) -> String {
        self.0.join(&promql::duration(window))
    }
}

// === impl Text ===

impl Text {
    /// Reads what a template printed; `None` where a mark was changed by a filter.
    pub(crate) fn new(text: String) -> Option<Self> {
        let pieces: Vec<&str> = text.split('\u{1}').collect();
        let names = pieces.iter().skip(1).step_by(2);
        let whole = pieces.len() % 2 == 1;
        let good = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        (whole && names.into_iter().all(good)).then_some(Self(text))
    }

    /// Returns whether a look fills anything in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.contains('\u{1}')
    }

    /// Fills in what a look knows; what it does not know is empty.
    #[must_use]
    pub fn filled(&self, known: impl Fn(&str) -> Option<String>) -> String {
        let pieces = self.0.split('\u{1}').enumerate();
        pieces
            .map(|(at, piece)| match at % 2 {
                0 => piece.to_owned(),
                _ => known(piece).unwrap_or_default(),
            })
            .collect()
    }
}

/// Checks a written `revisionQuery` (without `source`) and returns what a side's
/// `revision_query` holds. Templates may name what does not depend on the roles.
///
/// # Errors
/// Where a field is missing, a variable unknown, or the query is no PromQL.
pub fn revision_question(
    written: &Value,
    scope: &TemplateScope,
) -> Result<Arc<str>, Vec<SettingsError>> {
    let written: RevisionQuestion = settings::read(written).map_err(|error| vec![error])?;
    if written.label.is_empty() {
        let help = "name the label that holds the revision, such as version";
        return Err(vec![SettingsError::new("/label", "it is empty", help)]);
    }
    let template =
        Template::read("/promql", &written.promql, scope).map_err(|error| vec![error])?;
    if template.names_roles() {
        let help = "write one revisionQuery under each side, with that side's own labels";
        let message = "`canary` and `stable` are not known where a revision is asked for";
        return Err(vec![SettingsError::new("/promql", message, help)]);
    }
    let query = template.resolve(scope, Role::FirstIsCanary).map_err(|error| vec![error])?;
    promql::check("/promql", &query).map_err(|error| vec![error])?;
    let promql = query.text(Duration::from_secs(60));
    let question = RevisionQuestion { promql, label: written.label };
    Ok(serde_json::to_string(&question).expect("plain text can be written as JSON").into())
}
