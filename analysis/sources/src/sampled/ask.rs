//! What a pinned question asks, as far as kept samples can answer it: increases of counters,
//! quantiles of histograms, and how many series there are. Pure.
//!
//! It reads the very PromQL that `errors` and `latency` write, and refuses every other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use promql_parser::parser::{
    self, AggregateExpr, Call, Expr, LabelModifier, MatrixSelector, token,
};

use super::selector::Selector;
use crate::{
    Query, Question,
    counters::Labels,
    numbers::unanswerable,
    promql,
    question::{Ask, Counted},
};

/// The window that a query is parsed with; no person writes it.
const NOMINAL: Duration = Duration::from_millis(86_399_123);

/// A question that can be answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(super) sides: BTreeMap<String, SideAsked>,
    pub(super) exchange: bool,
}

/// What is asked about one side.
#[derive(Clone, Debug)]
pub(crate) struct SideAsked {
    pub(super) labels: Labels,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Ratio { total: Number, bad: Number },
    Value { value: Number, count: Option<Number> },
    Counted { counted: Counted, select: Arc<Selector>, bad: Option<Arc<Selector>> },
}

/// A number that kept samples tell.
#[derive(Clone, Debug)]
pub(crate) enum Number {
    /// What the counters that any of these finds gained in the window.
    Increase(Vec<Arc<Selector>>),
    /// A quantile of the classic histograms, divided by their units in a second.
    Quantile { quantile: f64, of: Arc<Selector>, per_second: f64 },
    /// How many series there are.
    Count(Arc<Selector>),
}

// === impl Asked ===

impl Asked {
    /// Reads a pinned question.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let question: Question = serde_json::from_str(text)
            .map_err(|error| format!("the pinned question cannot be read: {error}"))?;
        let side = |(name, side): (String, crate::SideQuestion)| {
            Ok((name, SideAsked { labels: side.labels, what: What::read(side.ask)? }))
        };
        let sides = question.sides.into_iter().map(side).collect::<Result<_, String>>()?;
        Ok(Self { sides, exchange: question.exchange })
    }

    /// Returns every selector in it, of both sides.
    pub(crate) fn selectors(&self) -> Vec<Arc<Selector>> {
        let mut all: Vec<Arc<Selector>> = Vec::new();
        for side in self.sides.values() {
            for selector in side.what.selectors() {
                if !all.contains(&selector) {
                    all.push(selector);
                }
            }
        }
        all
    }
}

// === impl What ===

impl What {
    fn read(ask: Ask) -> Result<Self, String> {
        Ok(match ask {
            Ask::Ratio { total, bad } => {
                Self::Ratio { total: Number::read(&total)?, bad: Number::read(&bad)? }
            }
            Ask::Value { value, count } => Self::Value {
                value: Number::read(&value)?,
                count: count.as_ref().map(Number::read).transpose()?,
            },
            Ask::Counted(counted) => {
                let select = Arc::new(Selector::read(&counted.select)?);
                let bad = counted.bad.as_deref().map(Selector::read).transpose()?;
                Self::Counted { counted, select, bad: bad.map(Arc::new) }
            }
            other @ (Ask::Own { .. } | Ask::Document(_) | Ask::Consent { .. }) => {
                return Err(unanswerable("scrape or haproxyStats", &other));
            }
        })
    }

    pub(super) fn selectors(&self) -> Vec<Arc<Selector>> {
        match self {
            Self::Ratio { total, bad } => [total.selectors(), bad.selectors()].concat(),
            Self::Value { value, count } => {
                let count = count.as_ref().map_or_else(Vec::new, Number::selectors);
                [value.selectors(), count].concat()
            }
            Self::Counted { select, bad, .. } => [select].into_iter().chain(bad).cloned().collect(),
        }
    }

    /// The number that says how much a side has.
    pub(super) fn amount(&self) -> Option<&Number> {
        match self {
            Self::Ratio { total: number, .. } | Self::Value { count: Some(number), .. } => {
                Some(number)
            }
            Self::Value { count: None, .. } | Self::Counted { .. } => None,
        }
    }
}

// === impl Number ===

impl Number {
    fn read(query: &Query) -> Result<Self, String> {
        let text = query.text(NOMINAL);
        promql::check_size("", &text).map_err(|error| error.message)?;
        let read = || parser::parse(&text).map(|expression| number(&expression));
        match promql::on_deep_stack(read) {
            Some(Ok(Some(number))) => number,
            Some(Ok(None)) | None => {
                let shown = query.text(Duration::from_secs(60));
                Err(format!(
                    "`{shown}` is PromQL, and this source has no Prometheus behind it: it answers \
                     `errors` and `latency` from counters and histograms, and nothing else"
                ))
            }
            Some(Err(error)) => Err(format!("`{text}` is no PromQL: {}", error.trim())),
        }
    }

    pub(super) fn selectors(&self) -> Vec<Arc<Selector>> {
        match self {
            Self::Increase(selectors) => selectors.clone(),
            Self::Quantile { of: selector, .. } | Self::Count(selector) => vec![selector.clone()],
        }
    }
}

/// `None`: not one of the forms that are answered.
fn number(expression: &Expr) -> Option<Result<Number, String>> {
    let expression = bare(expression);
    if let Expr::Aggregate(all) = expression {
        return aggregate(all);
    }
    if let Expr::Binary(by) = expression
        && by.op.id() == token::T_DIV
    {
        let Expr::NumberLiteral(units) = bare(&by.rhs) else { return None };
        let quantile = quantile(bare(&by.lhs), units.val)?;
        return (units.val > 0.0).then_some(quantile);
    }
    quantile(expression, 1.0)
}

/// `sum(increase(a[w]) or …)`, or `count(a)`.
fn aggregate(all: &AggregateExpr) -> Option<Result<Number, String>> {
    if all.modifier.is_some() || all.param.is_some() {
        return None;
    }
    if all.op.id() == token::T_SUM {
        let mut selectors = Vec::new();
        let read = increases(&all.expr, &mut selectors)?;
        return Some(read.map(|()| Number::Increase(selectors)));
    }
    let Expr::VectorSelector(one) = bare(&all.expr) else { return None };
    let is_count = all.op.id() == token::T_COUNT;
    is_count.then(|| Selector::of(one).map(Arc::new).map(Number::Count))
}

/// Brackets mean nothing.
fn bare(mut expression: &Expr) -> &Expr {
    while let Expr::Paren(inner) = expression {
        expression = &inner.expr;
    }
    expression
}

/// `increase(a[w]) or increase(b[w])`, however often.
fn increases(expression: &Expr, into: &mut Vec<Arc<Selector>>) -> Option<Result<(), String>> {
    let expression = bare(expression);
    if let Expr::Binary(or) = expression {
        let plain = or.modifier.as_ref().is_none_or(|modifier| modifier.matching.is_none());
        if or.op.id() != token::T_LOR || !plain {
            return None;
        }
        let left = increases(&or.lhs, into)?;
        return Some(left.and(increases(&or.rhs, into)?));
    }
    let Expr::Call(call) = expression else { return None };
    Some(over_window(call, "increase")?.map(|selector| into.push(Arc::new(selector))))
}

/// `histogram_quantile(0.99, sum by (le) (rate(a[w])))`.
fn quantile(expression: &Expr, per_second: f64) -> Option<Result<Number, String>> {
    let Expr::Call(call) = expression else { return None };
    let (quantile, of) = match (call.func.name, call.args.args.as_slice()) {
        ("histogram_quantile", [quantile, of]) => (bare(quantile), bare(of)),
        _ => return None,
    };
    let (Expr::NumberLiteral(quantile), Expr::Aggregate(sum)) = (quantile, of) else { return None };
    let by_le =
        matches!(&sum.modifier, Some(LabelModifier::Include(labels)) if labels.labels == ["le"]);
    let Expr::Call(rate) = bare(&sum.expr) else { return None };
    if sum.op.id() != token::T_SUM || !by_le || !(0.0..=1.0).contains(&quantile.val) {
        return None;
    }
    let quantile = quantile.val;
    let read = |of| Number::Quantile { quantile, of: Arc::new(of), per_second };
    Some(over_window(rate, "rate")?.map(read))
}

/// The selector of a function over the look's window.
fn over_window(call: &Call, name: &str) -> Option<Result<Selector, String>> {
    if call.func.name != name {
        return None;
    }
    let [only] = call.args.args.as_slice() else { return None };
    let Expr::MatrixSelector(MatrixSelector { vs, range }) = bare(only) else { return None };
    if *range != NOMINAL {
        return Some(Err(format!("`{vs}` has a range of its own: write [{{{{ window }}}}]")));
    }
    Some(Selector::of(vs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(before: &str, after: &str) -> Result<Number, String> {
        Number::read(&Query(vec![before.to_owned(), after.to_owned()]))
    }

    #[test]
    fn the_queries_of_errors_and_latency_are_understood() {
        let found = read("sum(increase(x{a=\"b\"}[", "]))").unwrap();
        assert!(matches!(found, Number::Increase(of) if of.len() == 1));
        let two = Query(vec![
            "sum(increase(x{code=~\"5..\"}[".to_owned(),
            "]) or increase(x{status=~\"5..\"}[".to_owned(),
            "]))".to_owned(),
        ]);
        assert!(matches!(Number::read(&two).unwrap(), Number::Increase(of) if of.len() == 2));
        let found = read("histogram_quantile(0.99, sum by (le) (rate(x_bucket[", "])))").unwrap();
        assert!(matches!(found, Number::Quantile { per_second: 1.0, .. }), "{found:?}");
        let found = read("histogram_quantile(0.9, sum by (le) (rate(x[", "]))) / 1000").unwrap();
        assert!(matches!(found, Number::Quantile { per_second: 1000.0, .. }), "{found:?}");
        let found = Number::read(&Query(vec!["count(x{a=\"b\"})".to_owned()])).unwrap();
        assert!(matches!(found, Number::Count(_)));
    }

    #[test]
    fn other_promql_is_refused_with_what_is_answered() {
        for (before, after) in [
            ("sum by (pod) (increase(x[", "]))"),
            ("sum(rate(x[", "]))"),
            ("avg(increase(x[", "]))"),
            ("sum(increase(x[", "])) / sum(increase(y[5m]))"),
            ("max_over_time(x[", "])"),
            ("histogram_quantile(0.9, rate(x[", "]))"),
            ("sum(increase(x[", "]) or on(a) increase(y[5m]))"),
        ] {
            let error = read(before, after).unwrap_err();
            assert!(error.contains("`errors` and `latency`"), "{before}: {error}");
        }
        assert!(read("sum(increase(x[5m])) + 0 * sum(increase(y[", "]))").is_err());
        let own = Number::read(&Query(vec!["sum(increase(x[5m]))".to_owned()])).unwrap_err();
        assert!(own.contains("write [{{ window }}]"), "{own}");
        assert!(read("sum(increase({a=\"b\"}[", "]))").unwrap_err().contains("names no metric"));
    }
}
