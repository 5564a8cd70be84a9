//! What an argument of a template may be: plain text, and why it is no secret.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scalar::{Odd, odd, show};

/// What an argument of a template is: plain text, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub struct Argument(String);

/// The remedy wherever a secret is written into an argument.
pub(crate) const SECRET_REMEDY: &str = "secrets belong to the source that sends them, such as \
     `prometheus: {url: …, bearer: {env: TOKEN}}`; arguments are plain text, and are shown";

/// The longest text of an argument.
const ARGUMENT_BYTES_MAX: usize = 1024;
// === impl Argument ===

impl Argument {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse(value: &Value) -> Result<Self, Odd> {
        let message = format!("{} is no argument", show(value));
        match value {
            Value::String(text) if text.len() > ARGUMENT_BYTES_MAX => {
                let count = text.len();
                let message = format!("the argument has {count} bytes");
                Err(odd(message, format!("write at most {ARGUMENT_BYTES_MAX}")))
            }
            Value::String(text) if text.chars().any(char::is_control) => {
                Err(odd("the argument holds a control character", "write it in one line of text"))
            }
            Value::String(text) => Ok(Self(text.clone())),
            Value::Object(fields) if fields.keys().any(|key| is_of_a_secret(key)) => {
                Err(odd("an argument cannot be taken from a secret", SECRET_REMEDY))
            }
            Value::Number(_) | Value::Bool(_) => {
                Err(odd(message, format!("quote it: `\"{value}\"`")))
            }
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(odd(message, "write plain text, such as `\"checkout\"`"))
            }
        }
    }
}

/// The words by which a value is taken from elsewhere, in the ways that people know.
pub(crate) fn is_of_a_secret(key: &str) -> bool {
    matches!(key, "valueFrom" | "secretKeyRef" | "secretRef" | "file" | "env" | "fieldRef")
}

impl TryFrom<Value> for Argument {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Self::parse(&value).map_err(|odd| odd.to_string())
    }
}

impl From<Argument> for String {
    fn from(argument: Argument) -> Self {
        argument.0
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for Argument {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Argument".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": ARGUMENT_BYTES_MAX,
            "format": "haldane-argument",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_is_plain_text_and_never_a_secret() {
        let parsed = |value: Value| Argument::parse(&value);
        assert_eq!(parsed(json!("1%")).unwrap().as_str(), "1%");
        assert_eq!(parsed(json!("")).unwrap().as_str(), "");
        assert_eq!(parsed(json!(5)).unwrap_err().help, "quote it: `\"5\"`");
        for key in ["valueFrom", "secretKeyRef", "file", "env"] {
            let refused = parsed(json!({key: "x"})).unwrap_err();
            assert!(refused.help.contains("secrets belong to the source"), "{refused}");
        }
        for odd in [json!(null), json!(["a"]), json!({"a": 1}), json!("a\nb"), json!("\u{1}")] {
            assert!(parsed(odd.clone()).is_err(), "{odd}");
        }
        assert!(parsed(json!("x".repeat(1024))).is_ok());
        assert!(parsed(json!("x".repeat(1025))).is_err());
    }
}
