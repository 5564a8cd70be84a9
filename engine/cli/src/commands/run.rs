//! `haldane run FILE`: one rollout in the foreground, until it ends or is interrupted.
//!
//! Exit codes: 0 promoted, 10 rolled back, 11 refused, 12 interrupted while held or in flight, 13
//! past the deadline, 64 usage. The last line says what is left unguarded.

use std::{
    io::IsTerminal,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Actor, Outcome, Request, RequestId, RolloutId, Verb};
use haldane_runtime::{
    drive::Handle,
    explain,
    status::Status,
};
use haldane_host::{Engine, Intent, Preflight, Written};
use haldane_standalone::{Shelf, Watcher, open};
use tokio::{signal::unix, sync::mpsc};
use tokio_util::sync::CancellationToken;

use self::wanted::Wanted;
use crate::{
    context::{Context, Output, pick_one},
    live::Live,
    templates::More,
    told::{Told, channel},
};

mod wanted;

/// How long a rollout may rest before it is clear that nothing will begin.
const SETTLED: Duration = Duration::from_secs(3);

/// How long an end waits for a store that does not take the record: what is left behind then is
/// found in the data plane by the next run, but not why.
const RECORD_MAX: Duration = Duration::from_secs(30);

/// Runs one rollout in the foreground.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rollout's file.
    file: PathBuf,
    /// Which rollout of the file, as NAME or NAMESPACE/NAME; needed where it holds several.
    #[arg(long)]
    rollout: Option<String>,
    #[command(flatten)]
    more: More,
    /// Leave as soon as the new revision has all traffic; nothing guards it then.
    #[arg(long)]
    no_watch: bool,
    /// Take over a split found between 0 and 100 %: the larger share serves, the other goes to 0.
    #[arg(long)]
    adopt: bool,
    /// What an interrupt does while a rollout is in flight.
    #[arg(long, value_enum, default_value_t = OnInterrupt::Hold)]
    on_interrupt: OnInterrupt,
    /// Return to the previous revision instead of rolling out, for this reason.
    #[arg(long, value_name = "REASON", conflicts_with = "retry")]
    undo: Option<String>,
    /// Try the revision that failed last once more, for this reason.
    #[arg(long, value_name = "REASON")]
    retry: Option<String>,
}

/// What an interrupt does while a rollout is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnInterrupt {
    /// The weight stays; the next `run` goes on from there.
    Hold,
    /// The traffic goes back first.
    Rollback,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Promoted,
    RolledBack,
    Refused,
    Interrupted,
    PastDeadline,
    /// The loop ended by itself: another engine writes the record.
    TakenOver,
}

struct Run<'a> {
    args: &'a Args,
    engine: Arc<Engine>,
    handle: Handle,
    id: RolloutId,
    /// What the file says is to be rolled out.
    wanted: Wanted,
    output: Output,
    live: Option<Live>,
    /// Whether this run saw the rollout move.
    moved: bool,
    /// The attempt that was there first.
    first_attempt: Option<u32>,
    rests_since: Option<Instant>,
    /// Since when it would have ended, had the record been written.
    unwritten_since: Option<Instant>,
    asked: bool,
    aborting: bool,
    /// What it waits for, as it was told last.
    waits: Option<String>,
    /// What a person must put right first.
    refused: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> miette::Result<ExitCode> {
    let shelf = args.more.shelf()?;
    let (id, read) = pick(&args, context, &shelf).await?;
    let state = context.state_dir()?;
    let (sink, mut told) = channel();
    let engine = open(&state, Arc::new(sink)).map_err(|error| miette::miette!("{error}"))?;
    let intent = Intent { named: true, adopt: args.adopt };
    let (handle, is_applied) = match read {
        Ok(written) => (engine.apply(&written, intent).handle, true),
        // A source that is down leaves nothing in flight unguarded: the pinned plan is enough.
        Err((message, _)) if engine.may_be_in_flight(&id).await => {
            tracing::warn!(rollout = %id, "{message}; what is in flight goes on by its pinned plan");
            (engine.invalid(&id, message).await, false)
        }
        Err((_, report)) => return Err(report),
    };
    let token = CancellationToken::new();
    let api = context.serve_socket(&state, engine.clone(), token.clone()).await?;
    let watcher = Watcher::file(args.file.clone(), id.clone(), intent, is_applied, shelf);
    let watching = tokio::spawn(watcher.run(engine.clone(), token.clone()));
    let live = (context.output == Output::Table && std::io::stdout().is_terminal())
        .then(|| Live::new(context.colours()));
    let mut run = Run {
        args: &args,
        engine: engine.clone(),
        handle,
        id,
        wanted: Wanted::Unknown,
        output: context.output,
        live,
        moved: false,
        first_attempt: None,
        rests_since: None,
        unwritten_since: None,
        asked: false,
        aborting: false,
        waits: None,
        refused: None,
    };
    let end = run.until_it_ends(&mut told).await;
    token.cancel();
    engine.stop().await;
    run.tell_the_rest(&mut told);
    let _ = watching.await;
    let _ = api.await;
    run.say_goodbye(end);
    Ok(end.code())
}

/// How the rollout is written; or, where a source does not tell what is left to it, the diagnosis.
type Read = Result<Written, (String, miette::Report)>;

/// Reads the file, and picks the one rollout that is meant.
async fn pick(
    args: &Args,
    context: &Context,
    shelf: &Shelf,
) -> miette::Result<(RolloutId, Read)> {
    let (file, rollout) = (&args.file, args.rollout.as_deref());
    match context.read(file, shelf).await? {
        Ok(all) => {
            let id = pick_one(file, rollout, all.iter().map(|one| one.id.clone()).collect())?;
            let written = all.into_iter().find(|one| one.id == id);
            let written = written.ok_or_else(|| miette::miette!("{id} is not written"))?;
            Ok((id, Ok(written)))
        }
        Err((wrong, report)) if wrong.may_pass => {
            let first = wrong.diagnostics.first().map(|first| first.message.clone());
            Ok((pick_one(file, rollout, wrong.ids)?, Err((first.unwrap_or_default(), report))))
        }
        Err((_, report)) => Err(report),
    }
}

// === impl Run ===

impl Run<'_> {
    async fn until_it_ends(&mut self, told: &mut mpsc::Receiver<Told>) -> End {
        let mut terminate = unix::signal(unix::SignalKind::terminate()).expect("signals are free");
        let mut interrupt = unix::signal(unix::SignalKind::interrupt()).expect("signals are free");
        let mut pictures = self.handle.watch();
        let mut pace = tokio::time::interval(Duration::from_millis(250));
        loop {
            tokio::select! {
                Some(told) = told.recv() => self.tell(&told),
                changed = pictures.changed() => {
                    if changed.is_err() {
                        return End::TakenOver;
                    }
                }
                _ = pace.tick() => {}
                _ = terminate.recv() => if let Some(end) = self.interrupted().await { return end },
                _ = interrupt.recv() => if let Some(end) = self.interrupted().await { return end },
            }
            let status = self.handle.status();
            self.tell_what_is_missing();
            if let Some(live) = &mut self.live {
                live.draw(&status);
            }
            if let Some(end) = self.look(&status).await
                && self.is_written(&status)
            {
                return end;
            }
        }
    }

    /// Tells what was decided last: it is told once it is recorded, which may be after it is seen.
    fn tell_the_rest(&mut self, told: &mut mpsc::Receiver<Told>) {
        while let Ok(told) = told.try_recv() {
            self.tell(&told);
        }
        if let Some(live) = &mut self.live {
            live.draw(&self.handle.status());
        }
    }

    fn tell(&mut self, told: &Told) {
        match (self.output, &mut self.live, told) {
            (Output::Json | Output::Yaml, _, Told::Entry(entry)) => {
                crate::print::line(&serde_json::to_string(entry).unwrap_or_default());
            }
            (Output::Json | Output::Yaml, _, Told::Notice(text)) => {
                crate::print::line(&serde_json::json!({"notice": text}).to_string());
            }
            (Output::Table, Some(live), Told::Entry(entry)) => live.tell(explain::line(entry)),
            (Output::Table, Some(live), Told::Notice(text)) => live.tell(text.clone()),
            (Output::Table, None, Told::Entry(entry)) => {
                crate::print::line(&explain::line(entry));
            }
            (Output::Table, None, Told::Notice(text)) => crate::print::line(text),
        }
    }

    /// Says at once what does not answer and what to do about it: it may come while one waits.
    fn tell_what_is_missing(&mut self) {
        let begun = is_in_flight(&self.handle.status());
        let waits = match self.engine.preflight(&self.id) {
            Some(Preflight::Waits(why)) if !begun => Some(why),
            Some(Preflight::Waits(_) | Preflight::Ready | Preflight::Refused(_)) | None => None,
        };
        if waits != self.waits {
            if let Some(why) = &waits {
                self.tell(&Told::Notice(format!("nothing begins yet: {why}")));
            }
            self.waits = waits;
        }
    }

    /// Says whether the rollout has ended, and how.
    async fn look(&mut self, status: &Status) -> Option<End> {
        // Asked at rest alone: what is in flight stays, guarded. An undo asks for nothing that is written.
        if let Some(Preflight::Refused(why)) = self.engine.preflight(&self.id)
            && !self.moved
            && self.args.undo.is_none()
        {
            self.refused = Some(why);
            return Some(End::Refused);
        }
        // It may have been put right before the end was certain.
        self.refused = None;
        if status.phase == "Loading" {
            return None;
        }
        if status.phase == "Held" {
            return self.look_at_newer(status).await;
        }
        self.look_at_file(status);
        let first = *self.first_attempt.get_or_insert(status.attempt);
        let rests = matches!(status.phase.as_str(), "Healthy" | "Degraded" | "Pending")
            && !status.watching;
        self.moved |= status.attempt > first || !rests;
        if self.is_asking() && (rests || status.watching) {
            return self.asks(status).await;
        }
        if !rests || self.aborting && status.phase == "Pending" {
            self.rests_since = None;
            let flipped = status.watching && self.args.no_watch && self.args.undo.is_none();
            // What is to be rolled out by now may be another revision: it cuts the watch.
            return self.ended_healthy(status).filter(|end| flipped && *end == End::Promoted);
        }
        let since = *self.rests_since.get_or_insert_with(Instant::now);
        let settled = since.elapsed() >= SETTLED && !status.traffic.is_empty();
        match status.phase.as_str() {
            "Degraded" if self.moved => Some(End::RolledBack),
            "Degraded" if settled => Some(End::Refused),
            "Healthy" if self.moved || settled => self.ended_healthy(status),
            "Pending" if settled && is_refused(status) => Some(End::Refused),
            _ => None,
        }
    }

    /// Once the file says something else, the run is about that: what ended before is no end of it.
    fn look_at_file(&mut self, status: &Status) {
        let wanted = Wanted::of(&self.engine, &self.id);
        if wanted != self.wanted {
            self.wanted = wanted;
            self.moved = false;
            self.first_attempt = Some(status.attempt);
            self.rests_since = None;
        }
    }

    /// A newer engine wrote the record: one stays with it until somebody aborts.
    async fn look_at_newer(&mut self, status: &Status) -> Option<End> {
        if self.is_asking() {
            return self.asks(status).await;
        }
        (status.lowered.is_some() && status.serving.is_some()).then_some(End::RolledBack)
    }

    /// Whether what was decided is on the disk, or was waited for long enough.
    fn is_written(&mut self, status: &Status) -> bool {
        let since = *self.unwritten_since.get_or_insert_with(Instant::now);
        status.store_trouble.is_none() || since.elapsed() >= RECORD_MAX
    }

    fn is_asking(&self) -> bool {
        !self.asked && (self.args.undo.is_some() || self.args.retry.is_some())
    }

    /// Makes the request of `--undo` or `--retry`, once the rollout is there.
    async fn asks(&mut self, status: &Status) -> Option<End> {
        if status.traffic.is_empty() {
            return None;
        }
        let (verb, reason) = match (&self.args.undo, &self.args.retry) {
            (Some(reason), _) => (Verb::Undo, reason.clone()),
            (None, Some(reason)) => (Verb::Retry { without: None }, reason.clone()),
            (None, None) => return None,
        };
        self.asked = true;
        let outcome = self.request(verb, status, Some(reason)).await;
        match outcome {
            Some(Outcome::Accepted) => {
                // What is shown now was drawn before: it says nothing of how this ends.
                self.moved = false;
                self.rests_since = None;
                None
            }
            Some(Outcome::Refused(why)) => {
                crate::print::line(&format!("refused: {why}"));
                Some(End::Refused)
            }
            None => Some(End::Refused),
        }
    }

    /// What a promotion is an end of; `None` while the file may still say something else.
    fn ended_healthy(&self, status: &Status) -> Option<End> {
        if self.args.undo.is_some() {
            return Some(End::Promoted);
        }
        match &self.wanted {
            Wanted::Unknown => None,
            Wanted::Named(revision) if status.revision.as_ref() != Some(revision) => {
                Some(End::Refused)
            }
            Wanted::Shown | Wanted::Named(_) => Some(End::Promoted),
        }
    }

    /// An interrupt: holds, or puts the traffic back first. A second one always leaves.
    async fn interrupted(&mut self) -> Option<End> {
        let status = self.handle.status();
        let held_by_deadline = status.holds.iter().any(|hold| hold.kind == "DeadlineReached");
        let may_move = is_in_flight(&status) || status.phase == "Loading";
        if self.args.on_interrupt == OnInterrupt::Rollback && may_move && !self.aborting {
            self.aborting = true;
            let reason = Some("interrupted, with --on-interrupt rollback".to_owned());
            let _ = self.request(Verb::Abort, &status, reason).await;
            return None;
        }
        Some(if held_by_deadline { End::PastDeadline } else { End::Interrupted })
    }

    async fn request(
        &self,
        verb: Verb,
        status: &Status,
        reason: Option<String>,
    ) -> Option<Outcome> {
        let now = jiff::Timestamp::now();
        let id = format!("run-{}-{}", std::process::id(), now.as_nanosecond());
        self.handle
            .request(Request {
                id: RequestId::from(id),
                verb,
                revision: status.revision.clone(),
                attempt: Some(status.attempt),
                step: status.step.as_ref().map(|step| step.index),
                reason,
                actor: Actor::Person(crate::context::user()),
                at: now,
            })
            .await
    }

    fn say_goodbye(&self, end: End) {
        let status = self.handle.status();
        let mut line = match &self.refused {
            Some(why) => format!("{}: refused: {why}", status.rollout),
            None => goodbye(end, &status, self.args.no_watch),
        };
        if let Some(why) = &status.store_trouble {
            line.push_str(&format!("; NOT RECORDED: {why}"));
        }
        match self.output {
            Output::Table => crate::print::line(&line),
            Output::Json | Output::Yaml => {
                let last = serde_json::json!({"end": end.word(), "message": line, "status": *status});
                crate::print::line(&last.to_string());
            }
        }
    }
}

/// Whether the rollout is under way.
fn is_in_flight(status: &Status) -> bool {
    !matches!(status.phase.as_str(), "Healthy" | "Degraded" | "Pending" | "Loading")
}

/// Whether the rollout cannot begin without a person changing something.
fn is_refused(status: &Status) -> bool {
    let refused = ["SplitRefused", "RevisionUnknown"];
    status.held_by.iter().any(|reason| refused.contains(&reason.as_str()))
}

/// Says how it ended, and what is left unguarded.
fn goodbye(end: End, status: &Status, no_watch: bool) -> String {
    let name = &status.rollout;
    let revision = status.revision.as_ref().map_or("the revision", |revision| revision.as_str());
    let serving = status.serving.as_ref().map_or("?", |side| side.as_str());
    let last = status.last_decision.as_ref().map_or("", |last| last.message.as_str());
    match end {
        End::Promoted if no_watch && status.watching => {
            format!("{name}: {revision} has all traffic on {serving}; nothing guards it any more")
        }
        End::Promoted => format!("{name}: {serving} serves {revision}"),
        End::RolledBack => format!("{name}: rolled back, {serving} serves; `haldane explain` says why"),
        End::Refused => {
            let failed = status.failed_revision.as_ref();
            if status.phase == "Degraded" && failed.is_some() {
                format!("{name}: refused: this revision failed last; use --retry REASON")
            } else {
                format!("{name}: refused: {last} ({})", status.held_by.join(", "))
            }
        }
        End::TakenOver => format!("{name}: another engine took over; it guards the traffic now"),
        End::Interrupted | End::PastDeadline
            if matches!(status.phase.as_str(), "Pending" | "Loading" | "Degraded") =>
        {
            format!("{name}: interrupted in {}, before anything moved", status.phase)
        }
        End::Interrupted | End::PastDeadline => {
            let share = status
                .traffic
                .iter()
                .find_map(|entry| entry.observed)
                .map_or_else(|| "an unknown share".to_owned(), |share| share.to_string());
            let test = status.test.as_ref().map_or("?", |side| side.as_str());
            format!(
                "{name}: interrupted in {}: {share} stays on {test}, UNGUARDED until the next `haldane run`",
                status.phase
            )
        }
    }
}

// === impl End ===

impl End {
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Promoted => 0,
            Self::RolledBack => 10,
            Self::Refused => 11,
            Self::Interrupted | Self::TakenOver => 12,
            Self::PastDeadline => 13,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolledBack",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::PastDeadline => "pastDeadline",
            Self::TakenOver => "takenOver",
        }
    }
}
