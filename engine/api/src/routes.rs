//! The paths: what each one shows, and how a request is handed to the loop.
//!
//! Whoever may not enter learns nothing, not even which paths there are.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use haldane_model::{Outcome, RolloutId, Verb};
use haldane_runtime::{drive::Handle, explain, ports::Desk, status::Status};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    access::Peer,
    form,
    wire::{
        Answer, Entry, JournalPage, PackedBatch, Picture, RolloutList, TracePage, Trouble, Version,
    },
};

/// How large a request's body may be.
const BODY_MAX: usize = 64 * 1_024;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(5);

/// How long the loop may take to answer a request.
const OUTCOME_TIME: Duration = Duration::from_secs(20);

/// How long a picture may be waited for, in seconds.
const WAIT_SECS_MAX: u64 = 30;

/// How many may wait for a picture at once; the other connections are for those who act.
const WAITERS_MAX: usize = 48;

/// How many journal entries are shown at once.
const ENTRIES_MAX: usize = 1_000;
const ENTRIES: usize = 200;

/// How many batches of a trace are shown at once.
const BATCHES: usize = 20;

#[derive(Clone)]
struct Engine {
    desk: Arc<dyn Desk>,
    waiters: Arc<Semaphore>,
    token: CancellationToken,
}

/// An answer that is none: a status and what was wrong.
struct Failure(StatusCode, Trouble);

type Answered<T> = Result<Json<T>, Failure>;

/// Builds the paths. The connection adds who the peer is.
pub(crate) fn router(desk: Arc<dyn Desk>, token: CancellationToken) -> Router {
    let engine = Engine { desk, waiters: Arc::new(Semaphore::new(WAITERS_MAX)), token };
    Router::new()
        .route("/v1/version", get(async || Json(Version::own())))
        .route("/v1/rollouts", get(list))
        .route("/v1/rollouts/{namespace}/{name}", get(show))
        .route("/v1/rollouts/{namespace}/{name}/journal", get(journal))
        .route("/v1/rollouts/{namespace}/{name}/plan", get(plan))
        .route("/v1/rollouts/{namespace}/{name}/trace", get(trace))
        .route("/v1/rollouts/{namespace}/{name}/status", get(status))
        .route("/v1/rollouts/{namespace}/{name}/requests", post(request))
        .fallback(async || Failure(StatusCode::NOT_FOUND, Trouble::new("no such path")))
        .method_not_allowed_fallback(async || {
            Failure(StatusCode::METHOD_NOT_ALLOWED, Trouble::new("this path has no such method"))
        })
        .with_state(engine)
        .layer(middleware::from_fn(enter))
}

async fn enter(Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    if !peer.may_enter(request.headers()).await {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

// === showing ===

async fn list(State(engine): State<Engine>) -> Json<RolloutList> {
    let handles = engine.desk.rollouts();
    let rollouts = handles.iter().map(|handle| (*handle.status()).clone()).collect();
    Json(RolloutList { rollouts })
}

async fn show(
    State(engine): State<Engine>,
    Path(path): Path<(String, String)>,
) -> Answered<Status> {
    let handle = engine.rollout(&path)?;
    Ok(Json((*handle.status()).clone()))
}

async fn plan(
    State(engine): State<Engine>,
    Path(path): Path<(String, String)>,
) -> Answered<serde_json::Value> {
    let handle = engine.rollout(&path)?;
    match engine.desk.effective(handle.id()) {
        Some(plan) => Ok(Json(plan)),
        None => {
            let why = handle.status().spec_error.clone();
            let why = why.unwrap_or_else(|| "there is no plan yet".to_owned());
            let trouble = Trouble::new(format!("no plan of {} can be shown: {why}", handle.id()));
            Err(Failure(StatusCode::NOT_FOUND, trouble))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretch {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn journal(
    State(engine): State<Engine>,
    Path(path): Path<(String, String)>,
    stretch: Result<Query<Stretch>, QueryRejection>,
) -> Answered<JournalPage> {
    let handle = engine.rollout(&path)?;
    let Query(stretch) = stretch?;
    let limit = stretch.limit.unwrap_or(ENTRIES).clamp(1, ENTRIES_MAX);
    let read = engine.desk.journal(handle.id(), stretch.after, limit);
    let journal = match tokio::time::timeout(OUTCOME_TIME, read).await {
        Ok(Ok(journal)) => journal,
        Ok(Err(why)) => return Err(unavailable(format!("the journal cannot be read: {why}"))),
        Err(_) => return Err(unavailable("the store does not answer")),
    };
    let entries = journal.entries.into_iter().take(limit).map(|entry| {
        let sentence = explain::sentence(&entry);
        Entry { entry, sentence }
    });
    Ok(Json(JournalPage { entries: entries.collect(), complete_since: journal.complete_since }))
}

async fn trace(
    State(engine): State<Engine>,
    Path(path): Path<(String, String)>,
    stretch: Result<Query<Stretch>, QueryRejection>,
) -> Answered<TracePage> {
    let handle = engine.rollout(&path)?;
    let Query(stretch) = stretch?;
    let limit = stretch.limit.unwrap_or(BATCHES).clamp(1, BATCHES);
    let read = engine.desk.trace(handle.id(), stretch.after, limit);
    match tokio::time::timeout(OUTCOME_TIME, read).await {
        Ok(Ok(batches)) => {
            Ok(Json(TracePage { batches: batches.iter().map(PackedBatch::of).collect() }))
        }
        Ok(Err(why)) => Err(unavailable(format!("the trace cannot be read: {why}"))),
        Err(_) => Err(unavailable("the store does not answer")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    since: Option<String>,
    wait: Option<u64>,
}

/// Answers at once, or as soon as the picture is no longer the one that the caller has.
async fn status(
    State(engine): State<Engine>,
    Path(path): Path<(String, String)>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Answered<Picture> {
    let handle = engine.rollout(&path)?;
    let Query(Wait { since, wait }) = wait?;
    let mut pictures = handle.watch();
    let now = picture(&pictures.borrow_and_update());
    let patience = Duration::from_secs(wait.unwrap_or(WAIT_SECS_MAX).min(WAIT_SECS_MAX));
    if since.as_deref() != Some(now.version.as_str()) || patience.is_zero() {
        return Ok(Json(now));
    }
    let Ok(_place) = engine.waiters.try_acquire() else {
        return Err(unavailable(format!("{WAITERS_MAX} wait for pictures already")));
    };
    let changed = async {
        while pictures.changed().await.is_ok() {
            let next = picture(&pictures.borrow_and_update());
            if next.version != now.version {
                break;
            }
        }
    };
    tokio::select! {
        () = changed => {}
        () = engine.token.cancelled() => {}
        () = tokio::time::sleep(patience) => {}
    }
    Ok(Json(picture(&pictures.borrow())))
}

fn picture(status: &Status) -> Picture {
    let text = serde_json::to_string(status).expect("a status has text keys");
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Picture { version: format!("{:016x}", hasher.finish()), status: status.clone() }
}

// === asking ===

async fn request(
    State(engine): State<Engine>,
    Extension(peer): Extension<Peer>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<Answer>), Failure> {
    let handle = engine.rollout(&path)?;
    let body = read_body(body).await?;
    let status = handle.status();
    let request = form::read(&body, &peer, &status, jiff::Timestamp::now())
        .map_err(|trouble| Failure(StatusCode::BAD_REQUEST, trouble))?;
    if status.phase == "Loading" && request.verb != Verb::Abort {
        let why = status.store_trouble.as_ref().or(status.spec_error.as_ref());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        return Err(unavailable(format!("{} is not loaded yet{why}", handle.id())));
    }
    let answer = Answer {
        outcome: Answer::ACCEPTED.to_owned(),
        reason: None,
        id: request.id.clone(),
        revision: request.revision.clone(),
        attempt: request.attempt,
        step: request.step,
        actor: request.actor.to_string(),
    };
    match tokio::time::timeout(OUTCOME_TIME, handle.request(request)).await {
        Ok(Some(Outcome::Accepted)) => Ok((StatusCode::OK, Json(answer))),
        Ok(Some(Outcome::Refused(reason))) => {
            let outcome = Answer::REFUSED.to_owned();
            Ok((StatusCode::CONFLICT, Json(Answer { outcome, reason: Some(reason), ..answer })))
        }
        Ok(None) => Err(unavailable(format!("the loop of {} has ended", handle.id()))),
        Err(_) => Err(Failure(
            StatusCode::GATEWAY_TIMEOUT,
            Trouble::new("the engine did not decide in time; the request may still take effect")
                .remedy(format!("ask again with the id {}: it is the same request", answer.id)),
        )),
    }
}

async fn read_body(body: Body) -> Result<Bytes, Failure> {
    let whole = Limited::new(body, BODY_MAX).collect();
    match tokio::time::timeout(BODY_TIME, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            Trouble::new(format!("the body is larger than {BODY_MAX} bytes"))
                .remedy("send a shorter reason"),
        )),
        Ok(Err(error)) => {
            Err(Failure(StatusCode::BAD_REQUEST, Trouble::new(format!("no whole body: {error}"))))
        }
        Err(_) => {
            let trouble = Trouble::new(format!("the body did not arrive within {BODY_TIME:?}"));
            Err(Failure(StatusCode::REQUEST_TIMEOUT, trouble))
        }
    }
}

// === impl Engine ===

impl Engine {
    fn rollout(&self, (namespace, name): &(String, String)) -> Result<Handle, Failure> {
        let id = RolloutId::new(namespace, name);
        let handles = self.desk.rollouts();
        if let Some(handle) = handles.iter().find(|handle| *handle.id() == id) {
            return Ok(handle.clone());
        }
        let mut known: Vec<String> = handles.iter().map(|handle| handle.id().to_string()).collect();
        known.truncate(10);
        let trouble = Trouble::new(format!("there is no rollout {id}"));
        Err(Failure(
            StatusCode::NOT_FOUND,
            if known.is_empty() {
                trouble.remedy("this engine has no rollouts")
            } else {
                trouble.remedy(format!("known: {}", known.join(", ")))
            },
        ))
    }
}

// === impl Failure ===

fn unavailable(error: impl Into<String>) -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, Trouble::new(error).remedy("try again in a moment"))
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        let trouble = Trouble::new(rejection.body_text())
            .remedy("known: after and limit for the journal, since and wait for the status");
        Self(StatusCode::BAD_REQUEST, trouble)
    }
}
