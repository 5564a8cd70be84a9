//! One look: the number in question, its counts, and, where it is silent, the targets.

use std::time::{Duration, Instant};

use haldane_model::{Answer, Sample};

use super::{Asker, Prometheus};
use crate::{
    Look, Query, Question, SideQuestion,
    numbers::unanswerable,
    promql,
    question::Ask,
    reply::{Found, Refusal},
};

/// The scrape interval of a source that does not tell.
const SCRAPE: Duration = Duration::from_secs(15);

/// What was found before the targets were asked.
pub(super) struct Looked {
    pub(super) answer: Answer,
    pub(super) count: Option<f64>,
    pub(super) serving_count: Option<f64>,
}

/// One moment to ask about, and until when.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) look: &'a Look,
    pub(super) window: Duration,
    pub(super) end: Instant,
}

impl Prometheus {
    /// Takes one look; whatever fails is an answer.
    pub(super) async fn take(&self, question: &str, look: &Look) -> Sample {
        let end = Instant::now() + look.deadline;
        let (looked, scrape, targets_down) = match prepare(question, look) {
            Ok((question, window)) => {
                let asked = Asked { look, window, end };
                let test = &question.sides[look.sides.test.as_str()];
                let scrape = self.scrape(&test.labels, Asker::Look, end);
                let (looked, scrape) = self.ask(&question, asked, scrape).await;
                let down = looked.is_silent() && self.targets_down(test, asked).await;
                (looked, scrape, down)
            }
            Err(message) => (
                Looked::error(Refusal { message, retryable: false, too_large: false }),
                None,
                false,
            ),
        };
        Sample {
            window: look.window,
            scrape: scrape.unwrap_or(SCRAPE),
            share: None,
            answer: looked.answer,
            count: looked.count,
            serving_count: looked.serving_count,
            targets_down,
        }
    }

    /// Asks what the question asks; counting needs to know the scrape interval first.
    async fn ask(
        &self,
        question: &Question,
        asked: Asked<'_>,
        scrape: impl Future<Output = Option<Duration>>,
    ) -> (Looked, Option<Duration>) {
        let sides = &asked.look.sides;
        let test = &question.sides[sides.test.as_str()].ask;
        let serving = question.sides.get(sides.serving.as_str()).map(|side| &side.ask);
        let serving = serving.filter(|_| question.exchange);
        match (test, serving) {
            (Ask::Counted(test), Some(Ask::Counted(serving))) => {
                let scrape = scrape.await;
                let known = scrape.unwrap_or(SCRAPE);
                (Box::pin(self.counted(test, serving, asked, known)).await, scrape)
            }
            (test, _) => {
                tokio::join!(self.one(test, serving, asked), scrape)
            }
        }
    }

    /// Asks for one number.
    async fn one(&self, test: &Ask, serving: Option<&Ask>, asked: Asked<'_>) -> Looked {
        match test {
            Ask::Counted(_) => {
                let message = "the pinned question does not count the serving side".to_owned();
                Looked::error(Refusal { message, retryable: false, too_large: false })
            }
            Ask::Own { .. } | Ask::Document(_) | Ask::Consent { .. } => {
                let message = unanswerable("prometheus", test);
                Looked::error(Refusal { message, retryable: false, too_large: false })
            }
            Ask::Ratio { total, bad } => {
                let (total, bad, serving_count) = tokio::join!(
                    self.number(total, asked),
                    self.number(bad, asked),
                    self.serving_count(serving, asked)
                );
                ratio(total, bad, serving_count)
            }
            Ask::Value { value, count } => {
                let count = async {
                    match count {
                        Some(count) => Some(self.number(count, asked).await),
                        None => None,
                    }
                };
                let (value, count, serving_count) = tokio::join!(
                    self.number(value, asked),
                    count,
                    self.serving_count(serving, asked)
                );
                number(value, count, serving_count)
            }
        }
    }

    /// What the serving side has; `None` where that cannot be told.
    async fn serving_count(&self, serving: Option<&Ask>, asked: Asked<'_>) -> Option<f64> {
        let (query, is_count) = match serving? {
            Ask::Ratio { total: query, .. } | Ask::Value { count: Some(query), .. } => {
                (query, true)
            }
            Ask::Value { value, count: None } => (value, false),
            Ask::Counted(_) | Ask::Own { .. } | Ask::Document(_) | Ask::Consent { .. } => {
                return None;
            }
        };
        match self.number(query, asked).await {
            Ok(Found::Number(count)) if is_count => Some(count),
            Ok(Found::Number(_)) => Some(1.0),
            Ok(Found::Nothing(_)) => Some(0.0),
            Err(_) => None,
        }
    }

    async fn number(&self, query: &Query, asked: Asked<'_>) -> Result<Found, Refusal> {
        let text = query.text(asked.window);
        self.client.number(&text, Some(asked.look.window.end), asked.end).await
    }

    /// Whether every target with the side's labels is known to be down. Unknown is not down.
    async fn targets_down(&self, side: &SideQuestion, asked: Asked<'_>) -> bool {
        if side.labels.is_empty() {
            return false;
        }
        let query = format!("max(up{{{}}})", promql::matchers(&side.labels));
        let found = self.client.number(&query, Some(asked.look.window.end), asked.end).await;
        matches!(found, Ok(Found::Number(up)) if up == 0.0)
    }
}

/// Reads the pinned question, and makes sure that it speaks of the side on trial.
fn prepare(question: &str, look: &Look) -> Result<(Question, Duration), String> {
    let question: Question = serde_json::from_str(question)
        .map_err(|error| format!("the pinned question cannot be read: {error}"))?;
    let side = &look.sides.test;
    if !question.sides.contains_key(side.as_str()) {
        return Err(format!("the pinned question has no side {side}"));
    }
    let window = look.window.end.duration_since(look.window.begin);
    match Duration::try_from(window) {
        Ok(window) if !window.is_zero() => Ok((question, window)),
        Ok(_) | Err(_) => Err("the window is empty".to_owned()),
    }
}

fn ratio(
    total: Result<Found, Refusal>,
    bad: Result<Found, Refusal>,
    serving_count: Option<f64>,
) -> Looked {
    let (total, part) = match (total, bad) {
        (Ok(total), Ok(bad)) => (some(&total), some(&bad)),
        (Err(error), _) | (_, Err(error)) => {
            return Looked { serving_count, ..Looked::error(error) };
        }
    };
    Looked {
        answer: Answer::Ratio { part, total },
        count: Some(total.unwrap_or(0.0)),
        serving_count,
    }
}

fn number(
    value: Result<Found, Refusal>,
    count: Option<Result<Found, Refusal>>,
    serving_count: Option<f64>,
) -> Looked {
    let (count, failed) = match count {
        None => (None, None),
        Some(Ok(found)) => (Some(some(&found).unwrap_or(0.0)), None),
        Some(Err(error)) => (None, Some(error)),
    };
    let answer = match (value, failed) {
        (Err(error), _) | (_, Some(error)) => error.into(),
        (Ok(Found::Number(value)), None) => Answer::Value(value),
        (Ok(Found::Nothing(why)), None) => Answer::Nothing(why.into_owned()),
    };
    Looked { answer, count, serving_count }
}

fn some(found: &Found) -> Option<f64> {
    match found {
        Found::Number(value) => Some(*value),
        Found::Nothing(_) => None,
    }
}

// === impl Looked ===

impl Looked {
    pub(super) fn error(refusal: Refusal) -> Self {
        Self { answer: refusal.into(), count: None, serving_count: None }
    }

    /// Whether there is nothing about the side on trial: no series, or no traffic.
    fn is_silent(&self) -> bool {
        match &self.answer {
            Answer::Nothing(_) | Answer::Ratio { total: None, .. } => true,
            Answer::Ratio { total: Some(total), .. } => *total == 0.0,
            Answer::Counted(_) => self.count.is_none_or(|count| count == 0.0),
            Answer::Value(_) | Answer::Error { .. } => false,
        }
    }
}
