//! Expressions of CEL over a document: bounded before they run.
//!
//! CEL ends always, but it need not end soon: every `map` in a chain can double a list, and a macro in a
//! macro multiplies. And its parser recurses. So a text is short and shallow, is parsed and run on a deep
//! stack of its own, knows few functions, no `map`, and no macro within another; and it is shown a small
//! document alone. What is left cannot take longer than a few seconds, and whoever asks waits no longer
//! than a deadline.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{beside_others, bounds};
use crate::{
    SettingsError, promql,
    reply::{Found, Refusal, excerpt, refused},
};

/// How long an expression may be.
const BYTES_MAX: usize = 1_024;
/// How deep it may nest: brackets and calls.
const NESTING_MAX: usize = 16;
/// How many values, and bytes of text, the document has that an expression is shown.
const SHOWN_VALUES_MAX: usize = 1_000;
const SHOWN_BYTES_MAX: usize = 16 << 10;
/// How long one is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many run at once.
static RUNNING: Semaphore = Semaphore::const_new(4);

/// What an expression comes to.
enum Came {
    Number(f64),
    Nothing(String),
    Refused(String),
}

/// Refuses an expression that cannot be used; `picks` says whether a path picks values for it.
pub(super) fn check(path: &str, text: &str, picks: bool) -> Result<(), SettingsError> {
    let help = "write one such as document.errors / document.requests";
    small(text)
        .and_then(|()| {
            let read = promql::on_deep_stack(|| compile(text, picks).map(drop));
            read.unwrap_or_else(|| Err("the parser gave up".to_owned()))
        })
        .map_err(|message| SettingsError::new(path, message, help))
}

/// Runs an expression over a document, or over what was picked of it.
pub(super) async fn found(
    text: &str,
    document: Value,
    picked: Option<Vec<Value>>,
) -> Result<Found, Refusal> {
    small(text).map_err(refused)?;
    let picks = picked.is_some();
    let shown = picked.map_or(document, Value::from);
    let mut left = (SHOWN_VALUES_MAX, SHOWN_BYTES_MAX);
    if !fits(&shown, &mut left) {
        return Err(refused(format!(
            "the document has more than {SHOWN_VALUES_MAX} values, or {SHOWN_BYTES_MAX} bytes of text: \
             pick what the expression needs by jsonPath"
        )));
    }
    let text = text.to_owned();
    let work = move || promql::on_deep_stack(|| run(&text, &shown, picks));
    match beside_others(&RUNNING, PATIENCE, work).await {
        Ok(Ok(Some(Came::Number(value)))) => Ok(Found::number(value)),
        Ok(Ok(Some(Came::Nothing(why)))) => Ok(Found::nothing(why)),
        Ok(Ok(Some(Came::Refused(why)))) => Err(refused(why)),
        Ok(Ok(None) | Err(_)) => Err(refused("the expression cannot be run")),
        Err(_) => Err(refused(format!("the expression takes longer than {PATIENCE:?}"))),
    }
}

/// Refuses what the parser must not see.
fn small(text: &str) -> Result<(), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("the expression has {} bytes, more than {BYTES_MAX}", text.len()));
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > NESTING_MAX {
        return Err(format!("the expression nests {deepest} deep, deeper than {NESTING_MAX}"));
    }
    Ok(())
}

fn compile(text: &str, picks: bool) -> Result<Program, String> {
    let program = Program::compile(text)
        .map_err(|error| format!("it is no CEL: {}", excerpt(error.to_string().as_bytes())))?;
    let names: &[&str] = if picks { &["values", "value"] } else { &["document"] };
    bounds::check(program.expression(), names)?;
    Ok(program)
}

fn run(text: &str, shown: &Value, picks: bool) -> Came {
    let program = match compile(text, picks) {
        Ok(program) => program,
        Err(why) => return Came::Refused(why),
    };
    let mut context = Context::default();
    if picks {
        let values = shown.as_array().map(Vec::as_slice).unwrap_or_default();
        if let [only] = values {
            context.add_variable_from_value("value", cel(only));
        }
        context.add_variable_from_value("values", cel(shown));
    } else {
        context.add_variable_from_value("document", cel(shown));
    }
    match program.execute(&context) {
        Ok(value) => came(&value),
        Err(ExecutionError::NoSuchKey(name)) => Came::Nothing(format!("there is no {name}")),
        Err(ExecutionError::UndeclaredReference(name)) if name.as_str() == "value" => {
            Came::Refused("`value` is the only one, and several were picked".to_owned())
        }
        Err(error) => {
            let why = excerpt(error.to_string().as_bytes());
            Came::Refused(format!("the expression cannot be computed: {why}"))
        }
    }
}

fn came(value: &Cel) -> Came {
    match value {
        Cel::Float(number) => Came::Number(*number),
        Cel::Int(number) => Came::Number(*number as f64),
        Cel::UInt(number) => Came::Number(*number as f64),
        Cel::Bool(is) => Came::Number(f64::from(u8::from(*is))),
        Cel::Null => Came::Nothing("the expression is null".to_owned()),
        Cel::String(_) => Came::Nothing("the expression is a text".to_owned()),
        Cel::List(_)
        | Cel::Map(_)
        | Cel::Function(..)
        | Cel::Bytes(_)
        | Cel::Opaque(_)
        | Cel::Struct(_) => {
            Came::Refused("the expression is neither a number nor true or false".to_owned())
        }
    }
}

/// JSON has one kind of number: 3 / 100 must not be 0.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(is) => Cel::Bool(*is),
        Value::Number(number) => number.as_f64().map_or(Cel::Null, Cel::Float),
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(values) => Cel::List(Arc::new(values.iter().map(cel).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), cel(value)));
            Cel::from(fields.collect::<HashMap<String, Cel>>())
        }
    }
}

/// Whether a document is small enough, by values and by bytes of text.
fn fits(value: &Value, left: &mut (usize, usize)) -> bool {
    let bytes = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
        Value::String(text) => text.len(),
        Value::Object(fields) => fields.keys().map(String::len).sum(),
    };
    let (Some(values), Some(text)) = (left.0.checked_sub(1), left.1.checked_sub(bytes)) else {
        return false;
    };
    *left = (values, text);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(values) => values.iter().all(|value| fits(value, left)),
        Value::Object(fields) => fields.values().all(|value| fits(value, left)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn of(text: &str, document: Value) -> Result<Found, Refusal> {
        found(text, document, None).await
    }

    #[tokio::test]
    async fn an_expression_makes_one_number_of_a_document() {
        let document = || json!({"errors": 3, "requests": 100, "items": [{"ok": true, "n": 2}]});
        let number = async |text: &str| match of(text, document()).await {
            Ok(Found::Number(number)) => number,
            other => panic!("{text}: {other:?}"),
        };
        // Whole numbers of JSON are divided as what they are.
        assert_eq!(number("document.errors / document.requests").await, 0.03);
        assert_eq!(number("document.errors > 2").await, 1.0);
        assert_eq!(number("document.items.all(item, item.ok && item.n < 3)").await, 1.0);
        assert_eq!(number("size(document.items.filter(item, item.n > 5))").await, 0.0);
        assert_eq!(number("has(document.nosuch) ? 1 : 0").await, 0.0);
        let picked = vec![json!(1), json!(4)];
        let found = found("values[1] - values[0]", json!(null), Some(picked)).await;
        assert_eq!(found, Ok(Found::Number(3.0)));
    }

    #[tokio::test]
    async fn what_is_missing_null_nan_or_text_is_nothing_and_a_mistake_is_told() {
        let document = || json!({"a": 0, "b": null, "t": "x"});
        for text in ["document.nosuch", "document.b", "document.t", "document.a / document.a"] {
            let found = of(text, document()).await;
            assert!(matches!(found, Ok(Found::Nothing(_))), "{text}: {found:?}");
        }
        for text in ["document.t + document.a", "document", "[document.a]", "document.a * 2"] {
            let found = of(text, document()).await;
            assert!(matches!(&found, Err(refusal) if !refusal.retryable), "{text}: {found:?}");
        }
        let several = found("value", json!(null), Some(vec![json!(1), json!(2)])).await;
        assert!(several.unwrap_err().message.contains("several were picked"));
    }

    #[test]
    fn what_is_not_known_is_refused_when_the_file_is_read() {
        let refused = |text: &str, words: &str| {
            let error = check("/expression", text, false).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        };
        refused("document.a +", "no CEL");
        refused("", "no CEL");
        refused("nosuch > 1", "nosuch is not known; known are document");
        refused("value > 1", "known are document");
        refused("document.a.matches('a*')", "matches is not known");
        refused("Type{a: 1}", "not known");
        check("/expression", "value > 1", true).unwrap();
    }

    #[test]
    fn a_bomb_is_refused_before_it_runs() {
        let refused = |text: &str, words: &str| {
            let error = check("/expression", text, false).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        };
        // Doubles with every step: 2^60 in the end.
        refused(&format!("size([1]{})", ".map(x, [x, x])".repeat(60)), "`map` is not known");
        refused("document.map(x, [x, x])", "`map` is not known");
        refused(
            "document.all(a, document.all(b, document.all(c, a == b)))",
            "a macro stands in another",
        );
        refused(&["document.all(a, a)"; 5].join(" && "), "more than 4");
        refused(
            &format!("document.all(a, a{} == a)", " + a".repeat(80)),
            "more than 64 operations",
        );
        refused(&"(".repeat(17), "nests 17 deep");
        refused(&"1+".repeat(600), "1200 bytes");
    }

    #[test]
    fn the_worst_expression_of_the_allowed_length_does_not_end_the_process() {
        for unit in
            ["-", "!", "1+", "a.", "a?b:", "[", "(", "{", "\"", "a.b(", "1==", "--", "!!", "a["]
        {
            let text = unit.repeat(BYTES_MAX / unit.len());
            let _ = check("/expression", &text, false);
            let _ = check("/expression", &format!("{}1", &text[..text.len() - 1]), false);
        }
    }

    #[tokio::test]
    async fn the_worst_that_is_allowed_ends_soon_and_a_large_document_is_not_shown() {
        let long = "x".repeat(SHOWN_BYTES_MAX / 2);
        let document = json!({"l": vec![1; 900], "t": long});
        let heavy = format!("document.l.all(x, document.t{} != '')", " + document.t".repeat(14));
        // Where it takes longer than it may, there is no number.
        assert_eq!(of(&heavy, document).await, Ok(Found::Number(1.0)));
        for large in [json!(vec![1; 1_000]), json!("x".repeat(SHOWN_BYTES_MAX + 1))] {
            let refusal = of("size(document)", large).await.unwrap_err();
            assert!(refusal.message.contains("pick what the expression needs"), "{refusal}");
        }
    }
}
