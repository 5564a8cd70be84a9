//! A request as it is written: read field by field, so that an error names the field, the value
//! and the remedy. Unknown fields are refused.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use haldane_model::{Actor, EntryName, Request, RequestId, Revision, Verb};
use haldane_runtime::status::Status;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{access::Peer, wire::Trouble};

const FIELDS: [&str; 10] = [
    "id",
    "verb",
    "full",
    "withoutGuards",
    "without",
    "revision",
    "attempt",
    "step",
    "reason",
    "requestedBy",
];

const VERBS: &str = "promote, skip, abort, pause, resume, retry or undo";

/// The longest short text (an id, a name, a revision), and the longest reason, in characters.
const SHORT_MAX: usize = 256;
const REASON_MAX: usize = 1_000;

/// Reads a request; what it does not say about revision, attempt and step is what the rollout
/// shows now.
pub(crate) fn read(
    body: &[u8],
    peer: &Peer,
    status: &Status,
    at: Timestamp,
) -> Result<Request, Trouble> {
    let mut fields = Fields::parse(body)?;
    let verb = verb(&mut fields)?;
    let reason = fields.text("reason", REASON_MAX)?;
    if let Verb::Promote { without_guards: true, .. } = verb
        && reason.as_ref().is_none_or(|reason| reason.trim().is_empty())
    {
        let error = "`withoutGuards` raises while nobody watches, and no reason is given";
        return Err(Trouble::field("reason", error, "say why in `reason`"));
    }
    let claimed = fields.text("requestedBy", SHORT_MAX)?;
    let revision = fields.text("revision", SHORT_MAX)?.map(Revision::from);
    let attempt = fields.number("attempt", u64::from(u32::MAX))?;
    let attempt = attempt.and_then(|attempt| u32::try_from(attempt).ok());
    let step = fields.number("step", 1_000)?.and_then(|step| usize::try_from(step).ok());
    let id = fields.text("id", SHORT_MAX)?;
    if id.as_ref().is_some_and(String::is_empty) {
        return Err(Trouble::field("id", "`id` is empty", "leave it out, or make it unique"));
    }
    fields.nothing_left()?;
    Ok(Request {
        id: id.map_or_else(|| fresh_id("api"), RequestId::from),
        actor: Actor::Person(actor(peer, claimed.as_deref(), &verb)?),
        verb,
        revision: revision.or_else(|| status.revision.clone()),
        attempt: attempt.or(Some(status.attempt)),
        step: step.or_else(|| status.step.as_ref().map(|step| step.index)),
        reason,
        at,
    })
}

/// Makes an id that nobody used before.
pub(crate) fn fresh_id(prefix: &str) -> RequestId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (pid, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{prefix}-{:x}-{pid:x}-{next:x}", since.as_nanos()).into()
}

/// An abort needs no name: lowering asks for nothing.
fn actor(peer: &Peer, claimed: Option<&str>, verb: &Verb) -> Result<String, Trouble> {
    let claimed = claimed.map(str::trim).filter(|name| !name.is_empty());
    match (peer.name(claimed), verb) {
        (Some(name), _) => Ok(name),
        (None, Verb::Abort) => Ok("claimed:nobody".to_owned()),
        (
            None,
            Verb::Promote { .. }
            | Verb::Skip
            | Verb::Pause
            | Verb::Resume
            | Verb::Retry { .. }
            | Verb::Undo,
        ) => {
            let error = "the field `requestedBy` is missing";
            Err(Trouble::field("requestedBy", error, "say who asks: the journal names them"))
        }
    }
}

fn verb(fields: &mut Fields) -> Result<Verb, Trouble> {
    let Some(word) = fields.text("verb", SHORT_MAX)? else {
        let error = "the field `verb` is missing";
        return Err(Trouble::field("verb", error, format!("one of {VERBS}")));
    };
    let full = fields.flag("full")?;
    let without_guards = fields.flag("withoutGuards")?;
    let without = fields.text("without", SHORT_MAX)?;
    let only = |field: &'static str, given: bool, verb: &str| {
        if !given || word == verb {
            return Ok(());
        }
        let error = format!("`{field}` goes with {verb}, not with {word}");
        Err(Trouble::field(field, error, "leave it out"))
    };
    only("full", full == Some(true), "promote")?;
    only("withoutGuards", without_guards == Some(true), "promote")?;
    only("without", without.is_some(), "retry")?;
    Ok(match word.as_str() {
        "promote" => Verb::Promote {
            full: full.unwrap_or(false),
            without_guards: without_guards.unwrap_or(false),
        },
        "skip" => Verb::Skip,
        "abort" => Verb::Abort,
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        "retry" => Verb::Retry { without: without.map(EntryName::from) },
        "undo" => Verb::Undo,
        _ => {
            let error = format!("the verb {word:?} is not known");
            return Err(Trouble::field("verb", error, format!("one of {VERBS}")));
        }
    })
}

/// The fields that are not read yet.
struct Fields(Map<String, Value>);

// === impl Fields ===

impl Fields {
    fn parse(body: &[u8]) -> Result<Self, Trouble> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Trouble::new("the body is no JSON object")
                .remedy("send an object such as {\"verb\": \"pause\"}")),
            Err(error) => Err(Trouble::new(format!("the body is no JSON: {error}"))
                .remedy("send an object such as {\"verb\": \"pause\"}")),
        }
    }

    /// Takes a field out; `null` is as good as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str, max: usize) -> Result<Option<String>, Trouble> {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(other) => return Err(wrong(name, &other, "a text", "put it in quotes")),
        };
        let count = text.chars().count();
        if count > max {
            let error = format!("`{name}` has {count} characters");
            return Err(Trouble::field(name, error, format!("use at most {max}")));
        }
        if text.chars().any(char::is_control) {
            let error = format!("`{name}` holds control characters: {text:?}");
            return Err(Trouble::field(name, error, "write one line of plain text"));
        }
        Ok(Some(text))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Trouble> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(name, &other, "true or false", "write it without quotes")),
        }
    }

    fn number(&mut self, name: &str, max: u64) -> Result<Option<u64>, Trouble> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().filter(|number| *number <= max) {
            Some(number) => Ok(Some(number)),
            None => {
                let wanted = format!("a whole number from 0 to {max}");
                Err(wrong(name, &value, &wanted, "leave it out to take the current one"))
            }
        }
    }

    fn nothing_left(&self) -> Result<(), Trouble> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        let shown: String = name.chars().take(SHORT_MAX).collect();
        let error = format!("the field {shown:?} is not known");
        Err(Trouble::field(&shown, error, format!("known fields: {}", FIELDS.join(", "))))
    }
}

fn wrong(name: &str, value: &Value, wanted: &str, remedy: &str) -> Trouble {
    let shown: String = value.to_string().chars().take(60).collect();
    Trouble::field(name, format!("`{name}` is {shown}, not {wanted}"), remedy)
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
