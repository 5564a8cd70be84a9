//! JSONPath (RFC 9535), bounded: whatever is written, a document is walked a few times at most.
//!
//! A path can name a node many times over (`$[*,*][*,*]…` doubles at every level), and all below it at
//! every level. So there is one `..`, two commas and one filter in it at most, and a filter looks at its
//! own node alone.

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::{SettingsError, promql, service::without_quoted};

/// How long a path may be.
const BYTES_MAX: usize = 256;
/// How many values are picked at most.
pub(super) const VALUES_MAX: usize = 1_000;

/// Reads a path.
pub(super) fn read(path: &str, text: &str) -> Result<JsonPath, SettingsError> {
    let help = "write a path such as $.data.score";
    let refuse = |message: String| Err(SettingsError::new(path, message, help));
    if text.len() > BYTES_MAX {
        return refuse(format!("the path has {} bytes, more than {BYTES_MAX}", text.len()));
    }
    let bare = without_quoted(text, "'\"");
    for (part, most) in [("..", 1), (",", 2), ("?", 1), ("$", 1)] {
        let count = bare.matches(part).count();
        if count > most {
            return refuse(format!("the path has {count} times `{part}`, more than {most}"));
        }
    }
    promql::check_size(path, text)?;
    let parsed = promql::on_deep_stack(|| JsonPath::parse(text).map_err(|error| error.to_string()));
    match parsed.unwrap_or_else(|| Err("the parser gave up".to_owned())) {
        Ok(parsed) => Ok(parsed),
        Err(error) => refuse(format!("{text:?} is no JSONPath: {error}")),
    }
}

/// What a path finds; `None`: too much.
pub(super) fn pick<'a>(path: &JsonPath, document: &'a Value) -> Option<Vec<&'a Value>> {
    let found = path.query(document).all();
    (found.len() <= VALUES_MAX).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_picked_by_name_place_and_filter() {
        let document = json!({"a": [{"b": 1, "ok": true}, {"b": 2, "ok": false}], "x,y": 3});
        let picked = |path: &str| {
            let path = read("/jsonPath", path).unwrap();
            pick(&path, &document).unwrap().into_iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(picked("$.a[1].b"), [json!(2)]);
        assert_eq!(picked("$.a[*].b"), [json!(1), json!(2)]);
        assert_eq!(picked("$..b"), [json!(1), json!(2)]);
        assert_eq!(picked("$.a[?@.ok == true].b"), [json!(1)]);
        assert_eq!(picked("$['x,y']"), [json!(3)]);
        assert!(picked("$.nosuch").is_empty());
    }

    #[test]
    fn a_path_that_could_walk_for_ever_is_refused() {
        let refused = |text: &str, words: &str| {
            let error = read("/jsonPath", text).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        };
        refused(&format!("${}", "[*,*]".repeat(40)), "times `,`");
        refused("$..*..*", "times `..`");
        refused("$[?$..a]", "times `$`");
        refused("$[?@.a][?@.b]", "times `?`");
        refused(&format!("${}", ".a".repeat(200)), "401 bytes");
        refused("a.b", "no JSONPath");
        refused("$.a[", "no JSONPath");
    }

    #[test]
    fn the_worst_path_that_is_allowed_costs_little() {
        let nested = |depth| (0..depth).fold(json!(1), |document, _| json!([document, 1, 2]));
        let (shallow, deep) = (nested(60), nested(120));
        let worst = [
            format!("$..[*,*,*]{}", "[*]".repeat(80)),
            format!("$..[?@{}]", "[0]".repeat(80)),
            "$..*".to_owned(),
        ];
        for text in worst {
            let path = read("/jsonPath", &text).unwrap();
            let cost = |document| {
                let begin = Instant::now();
                let _ = pick(&path, document);
                begin.elapsed()
            };
            // Twice as deep: eight times as much work perhaps, and not a power of two.
            let little =
                (0..5).map(|_| cost(&shallow)).max().unwrap().max(Duration::from_millis(1));
            assert!(cost(&deep) < little * 100, "{text}: {little:?} at half the depth");
        }
        let flat = json!(vec![json!({"a": 1}); 20_000]);
        let path = read("/jsonPath", "$..a").unwrap();
        assert!(pick(&path, &flat).is_none(), "more than {VALUES_MAX} values");
    }
}
