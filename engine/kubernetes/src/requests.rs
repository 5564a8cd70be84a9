//! RolloutRequests: what people want done, each once. The uid is the id; the answer goes into the request's status.

use std::{sync::Arc, time::Duration};

use haldane_crds::{RequestOutcome, RequestStatus, RequestVerb, RolloutRequest};
use haldane_host::Engine;
use haldane_model::{
    Actor, EntryName, Outcome, Request, RequestId, Revision, RolloutId, Verb, back_off,
};
use haldane_outside::{Key, Mirror, Outside};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, broadcast::error::RecvError, watch};
use tokio_util::sync::CancellationToken;

use crate::{api, supervise::supervise};

/// How long a request waits for its outcome before it is asked for again.
const OUTCOME_MAX: Duration = Duration::from_secs(30);
/// How soon what failed is tried again, at first and at most: doubling in between.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How many are answered at once, beside aborts: a cluster may be full of requests that nobody answered yet.
const ANSWERED_MAX: usize = 32;
/// How many answered requests of one rollout are kept.
const KEPT_MAX: usize = 20;

/// Answers requests.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) engine: Arc<Engine>,
    pub(crate) outside: Outside,
    pub(crate) requests: Arc<[Mirror]>,
    pub(crate) rollouts: Arc<[Mirror]>,
    /// Whether a policy of the cluster sees to it that `requestedBy` is who asks.
    pub(crate) verified: bool,
}

// === impl Requests ===

impl Requests {
    /// Answers until the token is cancelled, while this engine leads.
    pub(crate) async fn run(self, leads: watch::Receiver<bool>, token: CancellationToken) {
        let turns = Arc::new(Semaphore::new(ANSWERED_MAX));
        let panics = self.engine.panics();
        for mirror in self.requests.iter() {
            let (this, mirror, turns) = (self.clone(), mirror.clone(), turns.clone());
            let (leads, token) = (leads.clone(), token.clone());
            let follow = move || {
                this.clone().follow(mirror.clone(), turns.clone(), leads.clone(), token.clone())
            };
            tokio::spawn(supervise("a watch of requests", panics.clone(), follow));
        }
        token.cancelled().await;
    }

    async fn follow(
        self,
        mirror: Mirror,
        turns: Arc<Semaphore>,
        mut leads: watch::Receiver<bool>,
        token: CancellationToken,
    ) {
        let mut changes = mirror.changes();
        let mut asked = std::collections::HashSet::new();
        loop {
            if *leads.borrow_and_update() {
                let all = mirror.list();
                let there =
                    |uid: &String| all.iter().any(|one| api::text(one, "/metadata/uid") == uid);
                asked.retain(there);
                for request in &all {
                    let uid = api::text(request, "/metadata/uid").to_owned();
                    if request.pointer("/status/outcome").is_none() && asked.insert(uid) {
                        let (turns, leads) = (turns.clone(), leads.clone());
                        tokio::spawn(self.clone().answer(request.clone(), turns, leads));
                    }
                }
            } else {
                asked.clear();
            }
            let changed: Result<Key, RecvError> = tokio::select! {
                () = token.cancelled() => return,
                changed = leads.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                changed = changes.recv() => changed,
            };
            if matches!(changed, Err(RecvError::Closed)) {
                return;
            }
            // Several that come together are looked at together.
            while changes.try_recv().is_ok() {}
        }
    }

    async fn answer(self, object: Arc<Value>, turns: Arc<Semaphore>, leads: watch::Receiver<bool>) {
        let key = |at| api::text(&object, at);
        let (namespace, name) = (key("/metadata/namespace"), key("/metadata/name"));
        let is_there = || self.requests.iter().any(|mirror| mirror.get(namespace, name).is_some());
        for failures in 0.. {
            let turn = turn(&turns, &object).await;
            if !*leads.borrow() || !is_there() {
                return;
            }
            match self.answer_once(&object).await {
                Ok(()) => return,
                Err(why) => tracing::debug!("a request is tried again: {why}"),
            }
            drop(turn);
            tokio::time::sleep(back_off(AGAIN, failures)).await;
        }
    }

    async fn answer_once(&self, object: &Value) -> Result<(), String> {
        let namespace = api::text(object, "/metadata/namespace");
        let read: Result<RolloutRequest, _> = serde_json::from_value(object.clone());
        let (outcome, actor) = match read {
            Err(error) => (Outcome::Refused(format!("it cannot be read: {error}")), None),
            Ok(request) => {
                let id = RolloutId::new(namespace, request.spec.rollout.as_str());
                let request = self.request_of(object, &request);
                let actor = Some(request.actor.to_string());
                (self.outcome(&id, request).await?, actor)
            }
        };
        self.tell(object, outcome, actor).await?;
        self.forget_old(object).await
    }

    async fn outcome(&self, id: &RolloutId, request: Request) -> Result<Outcome, String> {
        let is_there =
            self.rollouts.iter().any(|mirror| mirror.get(&id.namespace, &id.name).is_some());
        let Some(handle) = self.engine.handle(id) else {
            if is_there || !self.rollouts.iter().all(Mirror::is_live) {
                return Err(format!("the loop of {id} has not begun"));
            }
            return Ok(Outcome::Refused(format!("there is no rollout {id}")));
        };
        let outcome = tokio::time::timeout(OUTCOME_MAX, handle.request(request)).await;
        outcome.map_err(|_| "no outcome yet".to_owned())?.ok_or_else(|| "the loop ended".to_owned())
    }

    fn request_of(&self, object: &Value, request: &RolloutRequest) -> Request {
        let spec = &request.spec;
        let claimed = spec.requested_by.clone();
        let actor = match (claimed, self.verified) {
            (Some(name), true) => name,
            (Some(name), false) => format!("{name} (claimed)"),
            (None, _) => "somebody (not named)".to_owned(),
        };
        let verb = match spec.verb {
            RequestVerb::Promote => {
                Verb::Promote { full: spec.full, without_guards: spec.without_guards }
            }
            RequestVerb::Skip => Verb::Skip,
            RequestVerb::Abort => Verb::Abort,
            RequestVerb::Pause => Verb::Pause,
            RequestVerb::Resume => Verb::Resume,
            RequestVerb::Retry => Verb::Retry {
                without: spec.without.as_ref().map(|name| EntryName::from(name.as_str())),
            },
            RequestVerb::Undo => Verb::Undo,
        };
        let made = api::text(object, "/metadata/creationTimestamp").parse();
        Request {
            id: RequestId::from(api::text(object, "/metadata/uid")),
            verb,
            revision: spec.revision.as_deref().map(Revision::from),
            attempt: spec.attempt,
            step: spec.step.map(|step| step as usize),
            reason: spec.reason.clone(),
            actor: Actor::Person(actor),
            at: made.unwrap_or_else(|_| Timestamp::now()),
        }
    }

    async fn tell(
        &self,
        object: &Value,
        outcome: Outcome,
        actor: Option<String>,
    ) -> Result<(), String> {
        let (outcome, message) = match outcome {
            Outcome::Accepted => (RequestOutcome::Accepted, None),
            Outcome::Refused(why) => (RequestOutcome::Refused, Some(why)),
        };
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let ready = haldane_crds::Condition {
            kind: "Ready".to_owned(),
            status: haldane_crds::ConditionStatus::True,
            observed_generation: generation,
            last_transition_time: now,
            reason: format!("{outcome:?}"),
            message: message.clone().unwrap_or_default(),
        };
        let status = RequestStatus {
            observed_generation: generation,
            outcome: Some(outcome),
            message,
            actor,
            answered_at: Some(now),
            conditions: vec![ready],
        };
        let (namespace, name) =
            (api::text(object, "/metadata/namespace"), api::text(object, "/metadata/name"));
        let path = format!("{}/status", api::object("rolloutrequests", namespace, name));
        let cluster = api::cluster(&self.outside).await.map_err(|error| error.to_string())?;
        match cluster.merge(&path, &json!({"status": status}), api::DEADLINE).await {
            Ok(_) => Ok(()),
            Err(error) if api::is_gone(&error) => Ok(()),
            Err(error) => {
                if api::code(&error) == Some(403) {
                    tracing::warn!("a request cannot be answered: {}", api::told(&error));
                }
                Err(api::told(&error))
            }
        }
    }

    /// Deletes the oldest answered requests of a rollout that has had many.
    async fn forget_old(&self, newest: &Value) -> Result<(), String> {
        let (namespace, rollout) =
            (api::text(newest, "/metadata/namespace"), api::text(newest, "/spec/rollout"));
        let all = self.requests.iter().flat_map(|mirror| mirror.list_in(namespace));
        let mut answered: Vec<_> = all
            .filter(|one| api::text(one, "/spec/rollout") == rollout)
            .filter(|one| one.pointer("/status/outcome").is_some())
            .collect();
        answered.sort_by(|one, other| {
            let at = |one: &Value| api::text(one, "/metadata/creationTimestamp").to_owned();
            at(other).cmp(&at(one))
        });
        let cluster = api::cluster(&self.outside).await.map_err(|error| error.to_string())?;
        for old in answered.iter().skip(KEPT_MAX) {
            let path = api::object("rolloutrequests", namespace, api::text(old, "/metadata/name"));
            match cluster.delete(&path, api::DEADLINE).await {
                Err(error) if api::code(&error) == Some(403) => {
                    // So it is with all of them.
                    tracing::warn!("old requests stay: {}", api::told(&error));
                    break;
                }
                Err(error) if !api::is_gone(&error) => {
                    tracing::debug!("an old request stays: {}", api::told(&error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Waits until one more may be answered. An abort waits for nobody, and takes nobody's turn.
async fn turn<'a>(turns: &'a Semaphore, request: &Value) -> Option<SemaphorePermit<'a>> {
    let verb =
        request.pointer("/spec/verb").cloned().and_then(|verb| serde_json::from_value(verb).ok());
    match verb {
        Some(RequestVerb::Abort) => None,
        Some(
            RequestVerb::Promote
            | RequestVerb::Skip
            | RequestVerb::Pause
            | RequestVerb::Resume
            | RequestVerb::Retry
            | RequestVerb::Undo,
        )
        | None => turns.acquire().await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn so_many_are_answered_at_once_and_an_abort_beside_them() {
        let turns = Semaphore::new(ANSWERED_MAX);
        let ask = |verb: &str| {
            let request = json!({"spec": {"rollout": "checkout", "verb": verb}});
            async { turn(&turns, &request).await.is_some() }.now_or_never()
        };
        let mut under_way: Vec<_> =
            (0..ANSWERED_MAX).map(|_| turns.try_acquire().expect("its turn")).collect();
        for verb in ["Promote", "Skip", "Pause", "Resume", "Retry", "Undo", "abort", ""] {
            assert_eq!(ask(verb), None, "{verb:?} waits");
        }
        assert_eq!(ask("Abort"), Some(false), "it takes nobody's turn");
        under_way.pop();
        assert_eq!(ask("Promote"), Some(true));
    }
}
