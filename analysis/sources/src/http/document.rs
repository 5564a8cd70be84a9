//! What a document comes to: one number, nothing, or a refusal. A text, a `null` and what is not there
//! are nothing; several values for one, a list and an object are a mistake of whoever wrote the path.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{beside_others, expression, pick};
use crate::{
    SettingsError,
    question::Document,
    reply::{Found, Refusal, excerpt, failed, refused},
};

/// How long a document may take to be read.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are read at once.
static READING: Semaphore = Semaphore::const_new(2);

/// Whether the path and the expression of a check can be used.
pub(crate) fn check(json_path: Option<&str>, expression: Option<&str>) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    if let Some(path) = json_path {
        errors.extend(pick::read("/jsonPath", path).err());
    }
    if let Some(text) = expression {
        errors.extend(expression::check("/expression", text, json_path.is_some()).err());
    }
    if json_path.is_none() && expression.is_none() {
        let help = "write jsonPath: $.data.score, or an expression";
        errors.push(SettingsError::new("/jsonPath", "nothing says which number it is", help));
    }
    errors
}

/// Reads an answer. A large one keeps a core busy for a while, so it is read beside the tasks of others.
pub(super) async fn found(asked: &Document, status: u16, body: Bytes) -> Result<Found, Refusal> {
    if !(200..300).contains(&status) {
        return Err(failed(status, &body));
    }
    let path = asked.json_path.clone();
    let reading = move || read(path.as_deref(), status, &body);
    let (document, picked) = match beside_others(&READING, PATIENCE, reading).await {
        Ok(Ok(read)) => read?,
        Ok(Err(_)) => return Err(refused("the document could not be read")),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            let late = refused(format!("the document took longer than {seconds} s to read"));
            return Err(Refusal { retryable: true, ..late });
        }
    };
    match (&asked.expression, picked) {
        (Some(text), picked) => expression::found(text, document, picked).await,
        (None, Some(picked)) => one(asked.json_path.as_deref().unwrap_or_default(), &picked),
        (None, None) => Err(refused("nothing says which number it is")),
    }
}

/// The document, and what the path picks of it.
fn read(
    path: Option<&str>,
    status: u16,
    body: &[u8],
) -> Result<(Value, Option<Vec<Value>>), Refusal> {
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        return Err(refused(format!("HTTP {status}, but no JSON: {}", excerpt(body))));
    };
    let Some(text) = path else { return Ok((document, None)) };
    let path = pick::read("/jsonPath", text).map_err(|error| refused(error.to_string()))?;
    let picked = pick::pick(&path, &document)
        .ok_or_else(|| refused(format!("{text} finds more than {} values", pick::VALUES_MAX)))?;
    let picked = picked.into_iter().cloned().collect();
    Ok((document, Some(picked)))
}

fn one(path: &str, picked: &[Value]) -> Result<Found, Refusal> {
    match picked {
        [] => Ok(Found::nothing(format!("there is nothing at {path}"))),
        [only] => value(path, only),
        several => Err(refused(format!(
            "{} values at {path} where one was asked: name one, or make one of them by `expression`",
            several.len()
        ))),
    }
}

fn value(path: &str, value: &Value) -> Result<Found, Refusal> {
    match value {
        Value::Number(number) => {
            Ok(number.as_f64().map_or_else(|| Found::nothing("no number"), Found::number))
        }
        Value::Bool(is) => Ok(Found::Number(f64::from(u8::from(*is)))),
        Value::Null => Ok(Found::nothing(format!("{path} is null"))),
        Value::String(text) => {
            let text = excerpt(text.as_bytes());
            Ok(Found::nothing(format!("{path} is a text: {text:?}")))
        }
        Value::Array(_) | Value::Object(_) => {
            let what = if value.is_array() { "a list" } else { "an object" };
            Err(refused(format!("{path} is {what}, not a number: name the number in it")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::question::{HttpRequest, Text};

    async fn of(path: &str, body: &str) -> Result<Found, Refusal> {
        let request =
            HttpRequest { method: "GET".into(), url: Text::new("/x".into()).unwrap(), body: None };
        let json_path = Some(path.to_owned());
        let asked = Document { request, json_path, expression: None };
        found(&asked, 200, body.to_owned().into()).await
    }

    #[tokio::test]
    async fn a_value_is_one_number_or_nothing_and_several_are_a_mistake() {
        let number = async |path: &str, document: Value| of(path, &document.to_string()).await;
        assert_eq!(number("$.a", json!({"a": 0.25})).await, Ok(Found::Number(0.25)));
        assert_eq!(number("$.a", json!({"a": true})).await, Ok(Found::Number(1.0)));
        for silent in [json!({}), json!({"a": null}), json!({"a": "0.25"}), json!([1])] {
            let found = number("$.a", silent.clone()).await;
            assert!(matches!(found, Ok(Found::Nothing(_))), "{silent}: {found:?}");
        }
        let refused = |found: Result<Found, Refusal>, words: &str| {
            let refusal = found.unwrap_err();
            assert!(refusal.message.contains(words) && !refusal.retryable, "{refusal}");
        };
        refused(number("$[*]", json!([1, 2])).await, "2 values at $[*]");
        refused(number("$.a", json!({"a": {"b": 1}})).await, "an object");
        refused(number("$.a", json!({"a": [1]})).await, "a list");
        refused(of("$.a", "<html>Sign in").await, "no JSON: <html>Sign in");
        refused(of("$.a", "").await, "no JSON");
        refused(of("$.a", r#"{"a": NaN}"#).await, "no JSON");
        // Deeper than any reader goes.
        refused(of("$..a", &"[".repeat(100_000)).await, "no JSON");
    }
}
