//! Selectors: which series a question speaks of, matched here and not by a server.

use std::sync::Arc;

use promql_parser::{
    label::Matcher,
    parser::{self, Expr, VectorSelector},
};

use crate::{counters::Labels, promql};

const NAME: &str = "__name__";

/// Which series are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// How it is written; the same text is the same selector.
    pub(crate) text: Arc<str>,
    names: Vec<Matcher>,
    labels: Vec<Matcher>,
}

/// What the questions of now speak of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(pub(crate) Vec<Arc<Selector>>);

// === impl Selector ===

impl Selector {
    /// Reads a bare selector, such as `requests_total{job="a"}`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        promql::check_size("", text).map_err(|error| error.message)?;
        let parsed = promql::on_deep_stack(|| parser::parse(text));
        match parsed {
            Some(Ok(Expr::VectorSelector(selector))) => Self::of(&selector),
            Some(Ok(_)) | None => Err(format!("`{text}` is no plain selector")),
            Some(Err(error)) => Err(format!("`{text}` is no PromQL: {}", error.trim())),
        }
    }

    pub(super) fn of(selector: &VectorSelector) -> Result<Self, String> {
        let text: Arc<str> = selector.to_string().into();
        if selector.offset.is_some() || selector.at.is_some() {
            return Err(format!("`{text}` speaks of another time than its window"));
        }
        if !selector.matchers.or_matchers.is_empty() {
            return Err(format!("`{text}` joins matchers with `or`: write one selector for each"));
        }
        let all = selector.matchers.matchers.iter().cloned();
        let (mut names, labels): (Vec<_>, Vec<_>) = all.partition(|matcher| matcher.name == NAME);
        if let Some(name) = &selector.name {
            names.push(Matcher::new_metric_name_matcher(name.clone())?);
        }
        if names.iter().all(|matcher| matcher.is_match("")) {
            return Err(format!("`{text}` names no metric: only named ones are kept"));
        }
        Ok(Self { text, names, labels })
    }

    /// Whether a metric of this name can be meant.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.names.iter().all(|matcher| matcher.is_match(name))
    }

    /// Whether a series is meant; a label that is absent is an empty one.
    pub(crate) fn finds(&self, labels: &Labels) -> bool {
        let of = |name: &str| labels.get(name).map_or("", String::as_str);
        self.names(of(NAME))
            && self.labels.iter().all(|matcher| matcher.is_match(of(&matcher.name)))
    }
}

// === impl Wanted ===

impl Wanted {
    /// Whether anybody wants metrics of this name.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.iter().any(|selector| selector.names(name))
    }

    /// Whether anybody wants this series.
    pub(crate) fn finds(&self, labels: &Labels) -> bool {
        self.0.iter().any(|selector| selector.finds(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_selector_finds_what_prometheus_would_find() {
        let series = labels(&[(NAME, "x_total"), ("code", "503"), ("side", "blue")]);
        let finds = |text| Selector::read(text).unwrap().finds(&series);
        for text in [
            "x_total",
            "x_total{code=~\"5..\"}",
            "x_total{status=\"\",side!=\"green\"}",
            "{__name__=~\"x_total|up\",side=~\"blue|green\"}",
        ] {
            assert!(finds(text), "{text}");
        }
        for text in ["x", "x_total{code=~\"5\"}", "x_total{status!=\"\"}", "x_total{side=\"b\"}"] {
            assert!(!finds(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_selector_is_refused() {
        for text in ["sum(x)", "x offset 5m", "{side=\"blue\"}", "x[5m]", "x{", "x @ 5"] {
            assert!(Selector::read(text).is_err(), "{text}");
        }
    }
}
