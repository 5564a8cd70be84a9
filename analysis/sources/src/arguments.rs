//! Arguments of analysis templates: filled in where a text names them, before anything reads it.
//!
//! An argument is written by its name alone, `{{ service }}`, as arguments of queries are. What is
//! filled in is escaped for a quoted string, as all that templates print, but for `{{ service | safe }}`.
//! In a text of another language, whose own escape is known only where it is resolved, the value is put
//! as a literal: it is kept in its place there. Everything else stays for whoever reads the text next: `{{ canary.labels }}`, `{{ window }}`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{promql, templates};

/// What begins something in a template.
const OPENERS: [&str; 3] = ["{{", "{%", "{#"];

/// Returns whether a text would be read as a template.
#[must_use]
pub fn is_template(text: &str) -> bool {
    OPENERS.iter().any(|opener| text.contains(opener))
}

/// Returns whether templates have a name of their own that an argument would hide.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    templates::is_own(name)
}

/// Returns the names that a text speaks of; of `canary.labels` it is `canary`. An error says why the
/// text is no template.
pub fn named_in(text: &str) -> Result<BTreeSet<String>, String> {
    if !is_template(text) {
        return Ok(BTreeSet::new());
    }
    promql::check_size("", text).map_err(|error| error.message)?;
    let root = |name: String| name.split('.').next().unwrap_or_default().to_owned();
    Ok(templates::names(text)?.into_iter().map(root).collect())
}

/// Puts arguments where a text names them. An error says which text cannot be filled.
pub fn fill(text: &str, arguments: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut filled, mut rest, mut openers) = (String::with_capacity(text.len()), text, 0);
    while let Some(at) = rest.find("{{") {
        let (before, tag) = rest.split_at(at);
        let Some(end) = tag.find("}}") else { break };
        let (tag, after) = tag.split_at(end + 2);
        openers += count(before);
        filled.push_str(before);
        match argument(&tag[2..end], arguments) {
            Some(value) => filled.push_str(&value),
            None => {
                openers += count(tag);
                filled.push_str(tag);
            }
        }
        rest = after;
    }
    openers += count(rest);
    filled.push_str(rest);
    // No value may begin something: neither within itself nor together with what stands beside it.
    if count(&filled) != openers {
        return Err(format!("`{text}` becomes another template once it is filled"));
    }
    Ok(filled)
}

/// Whether a field of a check is a text of another language than PromQL.
#[must_use]
pub fn is_of_another_language(check: &str, field: &str) -> bool {
    matches!(
        (check, field),
        ("number", "query" | "count") | ("json", "path" | "body") | ("webhook", "url" | "body")
    )
}

/// Puts arguments where a text of another language names them: as literals, so that the language keeps
/// them in their place. An error says which argument cannot be filled in.
pub fn fill_as_literals(
    text: &str,
    arguments: &BTreeMap<String, String>,
) -> Result<String, String> {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("{{") {
        let (before, tag) = rest.split_at(at);
        let Some(end) = tag.find("}}") else { break };
        let (tag, after) = tag.split_at(end + 2);
        filled.push_str(before);
        let (name, filter) = named(&tag[2..end]);
        match (arguments.get(name), filter) {
            (Some(value), None | Some("safe" | "promql")) => {
                if value.chars().any(char::is_control) {
                    return Err(format!("the argument `{name}` holds a control character"));
                }
                let literal = serde_json::Value::from(value.as_str());
                let safe = if filter == Some("safe") { " | safe" } else { "" };
                filled.push_str(&format!("{{{{ {literal}{safe} }}}}"));
            }
            (Some(_), Some(_)) | (None, _) => filled.push_str(tag),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What stands for a tag, where it is an argument by itself.
fn argument(tag: &str, arguments: &BTreeMap<String, String>) -> Option<String> {
    let (name, filter) = named(tag);
    let value = arguments.get(name)?;
    match filter {
        None | Some("promql") => Some(promql::escape(value)),
        Some("safe") => Some(value.clone()),
        Some(_) => None,
    }
}

/// The name in a tag, and the filter that it has.
fn named(tag: &str) -> (&str, Option<&str>) {
    let tag = tag.strip_prefix('-').unwrap_or(tag);
    let tag = tag.strip_suffix('-').unwrap_or(tag);
    match tag.split_once('|') {
        Some((name, filter)) => (name.trim(), Some(filter.trim())),
        None => (tag.trim(), None),
    }
}

fn count(text: &str) -> usize {
    OPENERS.iter().map(|opener| text.matches(opener).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fill(text, &pairs.iter().map(own).collect())
    }

    #[test]
    fn arguments_are_filled_in_and_everything_else_stays() {
        let text = "sum(x{job=\"{{ service }}\",{{ canary.labels }}}[{{window}}])/{{service|safe}}";
        assert_eq!(
            filled(text, &[("service", "cart")]).unwrap(),
            "sum(x{job=\"cart\",{{ canary.labels }}}[{{window}}])/cart"
        );
        assert_eq!(filled("{{- limit -}}", &[("limit", "1%")]).unwrap(), "1%");
        assert_eq!(filled("plain {", &[("limit", "1%")]).unwrap(), "plain {");
    }

    #[test]
    fn no_argument_can_leave_its_string_or_begin_a_tag() {
        let evil = [("service", "a\"} or up{b=\"")];
        let escaped = "a\\\"} or up{b=\\\"";
        assert_eq!(
            filled("x{a=\"{{ service }}\"}", &evil).unwrap(),
            format!("x{{a=\"{escaped}\"}}")
        );
        assert_eq!(filled("{{ service | promql }}", &evil).unwrap(), escaped);
        assert_eq!(filled("{{ service | safe }}", &evil).unwrap(), evil[0].1);
        for text in ["{{ service }}", "a{ {{ service | safe }}"] {
            assert!(filled(text, &[("service", "{{ canary }}")]).is_err(), "{text}");
        }
        assert!(filled("{{ a }}{{ b }}", &[("a", "{"), ("b", "{")]).is_err());
        assert!(filled("{{ a }}{% raw %}", &[("a", "{")]).is_err());
    }

    #[test]
    fn an_argument_is_a_literal_in_a_text_of_another_language() {
        let own = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let fill = |text: &str, value: &str| fill_as_literals(text, &own("service", value));
        let text = "x/{{ service }}?a={{service|safe}}&b={{ canary }}";
        let filled = fill(text, "a\"}} {{ b").unwrap();
        assert_eq!(filled, r#"x/{{ "a\"}} {{ b" }}?a={{ "a\"}} {{ b" | safe }}&b={{ canary }}"#);
        // Only what stands by itself.
        assert_eq!(fill("{{ service | upper }}", "a").unwrap(), "{{ service | upper }}");
        assert!(fill(text, "a\nb").unwrap_err().contains("control character"));
        assert!(is_of_another_language("json", "path") && !is_of_another_language("json", "max"));
        assert!(is_reserved("attempt") && is_reserved("begin"));
    }

    #[test]
    fn what_a_text_names_is_known_whatever_is_done_with_it() {
        let names =
            named_in("{% if service == 'a' %}{{ canary.labels }}{{ x | upper }}{% endif %}");
        let names: Vec<String> = names.unwrap().into_iter().collect();
        assert_eq!(names, ["canary", "service", "x"]);
        assert!(named_in("no tag at all }} { {").unwrap().is_empty());
        assert!(named_in("{{ service").is_err());
        assert!(is_reserved("canary") && !is_reserved("service"));
    }
}
