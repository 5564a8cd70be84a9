//! A verb as a RolloutRequest: made for what the rollout shows, signed with the name that the API server knows, and
//! waited for.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use haldane_api::{Answer, Ask};
use haldane_crds::{RequestOutcome, RequestStatus, RolloutStatus};
use haldane_model::RolloutId;
use haldane_outside::ClusterError;
use miette::miette;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{API, DEADLINE, Seat, object, picture::status_of, text, trouble};
use crate::{
    ask::{REFUSED, UNANSWERED, told},
    context::{Context, Output},
    print,
};

/// How often an answer is looked for.
const PACE: Duration = Duration::from_millis(250);

/// How long the server has to say who we are.
const REVIEW_DEADLINE: Duration = Duration::from_secs(3);

/// Silence that is said nothing about.
const SILENCE: Duration = Duration::from_secs(1);

/// What became of a request, for programs.
#[derive(Debug, Serialize)]
struct Asked {
    /// The object.
    request: String,
    #[serde(flatten)]
    answer: Answer,
}

/// Makes a request, waits for its answer, and tells how it went.
pub(crate) async fn send(
    seat: &Seat,
    context: &Context,
    id: &RolloutId,
    ask: Ask,
    wait: Duration,
) -> miette::Result<ExitCode> {
    // Both at once: nothing should hold up an abort.
    let (shown, user) = futures::future::join(shown(seat, id, &ask.verb), seat.user()).await;
    let shown = shown?;
    let spec = match spec(id, &ask, &shown, user.as_deref()) {
        Ok(spec) => spec,
        Err(why) => {
            let answer = answer(&ask.verb, &Value::Null, &refusal(why), user.as_deref());
            return finish(context, id, &ask.verb, Asked { request: String::new(), answer });
        }
    };
    let made = seat.create_request(id, &ask.verb, &spec, user.as_deref()).await?;
    let name = text(&made, "/metadata/name").to_owned();
    let status = seat.answered(id, &name, wait).await?;
    let uid = text(&made, "/metadata/uid");
    let answer = answer(uid, &spec, &status, user.as_deref());
    if status.outcome.is_none() && context.output == Output::Table {
        return Ok(unanswered(id, &ask.verb, &name, wait));
    }
    finish(context, id, &ask.verb, Asked { request: name, answer })
}

/// What the rollout shows. Who may abort need not be allowed to look.
async fn shown(seat: &Seat, id: &RolloutId, verb: &str) -> miette::Result<RolloutStatus> {
    match seat.get(&object("rollouts", id)?).await {
        Ok(rollout) => Ok(status_of(&rollout)),
        Err(ClusterError::Refused(refusal)) if refusal.code == 403 && verb == "abort" => {
            Ok(RolloutStatus::default())
        }
        Err(error) => Err(trouble::of_read(error, "rollouts", id)),
    }
}

/// Fills a request in: what was not said is what the rollout shows.
fn spec(
    id: &RolloutId,
    ask: &Ask,
    shown: &RolloutStatus,
    user: Option<&str>,
) -> Result<Value, String> {
    let mut spec = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && value != Value::Bool(false) {
            spec.insert(name.to_owned(), value);
        }
    };
    let verb = &ask.verb;
    let step = ask.step.and_then(|step| u32::try_from(step).ok());
    let step = step.or_else(|| shown.step.as_ref().map(|step| step.index));
    let revision = ask.revision.clone().or_else(|| shown.revision.clone());
    let attempt = ask.attempt.or(shown.attempt);
    let for_a_step = matches!(verb.as_str(), "promote" | "skip");
    if attempt.is_none() && verb != "abort" {
        return Err("no engine has seen this rollout yet: its status is empty".to_owned());
    }
    if for_a_step && (revision.is_none() || step.is_none()) {
        let phase = shown.phase.as_deref().unwrap_or("not known yet");
        return Err(format!("no step is under way (the rollout is {phase})"));
    }
    put("rollout", json!(&*id.name));
    put("verb", json!(kind(verb)));
    put("full", json!(ask.full));
    put("withoutGuards", json!(ask.without_guards));
    put("without", json!(ask.without));
    put("revision", json!(revision));
    put("attempt", json!(attempt));
    put("step", if for_a_step || ask.step.is_some() { json!(step) } else { Value::Null });
    put("reason", json!(ask.reason));
    put("requestedBy", json!(user));
    Ok(Value::Object(spec))
}

/// The verb as the object writes it: `Promote`.
fn kind(verb: &str) -> String {
    let mut letters = verb.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

// === impl Seat ===

impl Seat {
    /// Asks who we are to the API server; `None` where it does not say.
    async fn user(&self) -> Option<String> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let told = self.cluster.create(path, &review, REVIEW_DEADLINE).await.ok()?;
        let user = text(&told, "/status/userInfo/username");
        (!user.is_empty()).then(|| user.to_owned())
    }

    async fn create_request(
        &self,
        id: &RolloutId,
        verb: &str,
        spec: &Value,
        user: Option<&str>,
    ) -> miette::Result<Value> {
        let request = json!({
            "apiVersion": "haldane.dev/v1alpha1",
            "kind": "RolloutRequest",
            "metadata": {
                "generateName": format!("{}-{verb}-", id.name),
                "namespace": &*id.namespace,
            },
            "spec": spec,
        });
        let path = super::collection("rolloutrequests", Some(&id.namespace))?;
        let made = self.cluster.create(&path, &request, DEADLINE).await;
        made.map_err(|error| trouble::of_request(error, id, verb, user))
    }

    /// Waits for an answer; a status without one where none came in time.
    async fn answered(
        &self,
        id: &RolloutId,
        name: &str,
        wait: Duration,
    ) -> miette::Result<RequestStatus> {
        let path = format!("{API}/namespaces/{}/rolloutrequests/{name}", id.namespace);
        let begin = Instant::now();
        let mut is_told = false;
        while begin.elapsed() < wait {
            match self.get(&path).await {
                Ok(request) => {
                    let status = request.get("status").cloned().unwrap_or_default();
                    let status: RequestStatus = serde_json::from_value(status).unwrap_or_default();
                    if status.outcome.is_some() {
                        return Ok(status);
                    }
                }
                // It may have been taken; a moment later it can be asked again.
                Err(ClusterError::Unavailable(_)) => {}
                Err(ClusterError::Refused(refusal)) => return Err(lost(id, name, &refusal)),
            }
            if !is_told && begin.elapsed() > SILENCE {
                let most = humantime::format_duration(wait);
                print::aside(&format!(
                    "{}/{name} is made; waiting for the engine, {most} at most",
                    id.namespace
                ));
                is_told = true;
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(RequestStatus::default())
    }
}

fn lost(id: &RolloutId, name: &str, refusal: &haldane_outside::Refusal) -> miette::Report {
    let why = trouble::words(refusal);
    match refusal.code {
        404 => miette!(
            help = format!("`haldane history {}` tells whether it took effect", id.name),
            "the request {}/{name} is gone, and its answer with it",
            id.namespace
        ),
        _ => miette!(
            help = "ask for the role haldane-view, to see what becomes of requests; `--wait 0s` does not look",
            "the request {}/{name} is made, and its answer cannot be read: {why}",
            id.namespace
        ),
    }
}

// === how it went ===

fn refusal(why: String) -> RequestStatus {
    let outcome = Some(RequestOutcome::Refused);
    RequestStatus { outcome, message: Some(why), ..RequestStatus::default() }
}

fn answer(uid: &str, spec: &Value, status: &RequestStatus, user: Option<&str>) -> Answer {
    let outcome = match status.outcome {
        Some(RequestOutcome::Accepted) => Answer::ACCEPTED,
        Some(RequestOutcome::Refused) => Answer::REFUSED,
        None => "unanswered",
    };
    let number = |name: &str| spec.get(name).and_then(Value::as_u64);
    let actor = status.actor.clone().or_else(|| user.map(ToOwned::to_owned));
    Answer {
        outcome: outcome.to_owned(),
        reason: status.message.clone().filter(|_| status.outcome == Some(RequestOutcome::Refused)),
        id: uid.into(),
        revision: spec.get("revision").and_then(Value::as_str).map(Into::into),
        attempt: number("attempt").and_then(|attempt| u32::try_from(attempt).ok()),
        step: number("step").and_then(|step| usize::try_from(step).ok()),
        actor: actor.unwrap_or_else(|| "an unknown user".to_owned()),
    }
}

fn finish(context: &Context, id: &RolloutId, verb: &str, asked: Asked) -> miette::Result<ExitCode> {
    let code = match asked.answer.outcome.as_str() {
        Answer::ACCEPTED => 0,
        Answer::REFUSED => REFUSED,
        _ => UNANSWERED,
    };
    match (context.output, code) {
        (Output::Table, 0) => print::line(&told(id, verb, &asked.answer)),
        (Output::Table, _) => print::aside(&told(id, verb, &asked.answer)),
        (Output::Json | Output::Yaml, _) => print::value(context.output, &asked, String::new)?,
    }
    Ok(ExitCode::from(code))
}

fn unanswered(id: &RolloutId, verb: &str, name: &str, wait: Duration) -> ExitCode {
    let namespace = &id.namespace;
    if wait.is_zero() {
        print::line(&format!("{id}: {verb} is asked for: {namespace}/{name}"));
        return ExitCode::SUCCESS;
    }
    let wait = humantime::format_duration(wait);
    print::aside(&format!(
        "{id}: {verb}: no engine answered within {wait}; the request {namespace}/{name} stands, and is answered \
         once one does: `kubectl -n {namespace} get rolloutrequests {name}`, and see whether the engine runs"
    ));
    ExitCode::from(UNANSWERED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> RolloutStatus {
        serde_json::from_value(json!({
            "phase": "Baking", "revision": "2.4.1", "attempt": 3,
            "step": {"index": 1, "count": 4, "weight": "25%", "baked": "5s", "shown": "2/4"},
        }))
        .unwrap()
    }

    fn made(ask: &Ask, shown: &RolloutStatus) -> Result<Value, String> {
        spec(&RolloutId::new("shop", "checkout"), ask, shown, Some("jane"))
    }

    #[test]
    fn what_was_not_said_is_what_the_rollout_shows() {
        let promote = made(&Ask::new("promote"), &shown()).unwrap();
        let wanted = json!({"rollout": "checkout", "verb": "Promote", "revision": "2.4.1", "attempt": 3, "step": 1, "requestedBy": "jane"});
        assert_eq!(promote, wanted);
        let said = Ask {
            step: Some(0),
            revision: Some("2.4.0".to_owned()),
            attempt: Some(2),
            full: true,
            ..Ask::new("promote")
        };
        let wanted = json!({"rollout": "checkout", "verb": "Promote", "full": true, "revision": "2.4.0", "attempt": 2, "step": 0, "requestedBy": "jane"});
        assert_eq!(made(&said, &shown()).unwrap(), wanted);
        let pause =
            made(&Ask { reason: Some("lunch".to_owned()), ..Ask::new("pause") }, &shown()).unwrap();
        assert_eq!(
            pause,
            json!({"rollout": "checkout", "verb": "Pause", "revision": "2.4.1", "attempt": 3, "reason": "lunch", "requestedBy": "jane"})
        );
    }

    #[test]
    fn only_an_abort_needs_nothing() {
        let nothing = RolloutStatus::default();
        assert_eq!(
            made(&Ask::new("abort"), &nothing).unwrap(),
            json!({"rollout": "checkout", "verb": "Abort", "requestedBy": "jane"})
        );
        for verb in ["promote", "skip", "pause", "resume", "retry", "undo"] {
            assert!(
                made(&Ask::new(verb), &nothing).unwrap_err().contains("no engine has seen"),
                "{verb}"
            );
        }
        let at_rest = RolloutStatus { step: None, phase: Some("Healthy".to_owned()), ..shown() };
        assert_eq!(
            made(&Ask::new("skip"), &at_rest).unwrap_err(),
            "no step is under way (the rollout is Healthy)"
        );
        assert!(made(&Ask::new("undo"), &at_rest).is_ok());
    }
}
