//! The loop on tokio: executes a [`Core`]'s commands through the ports, each in a task of its own.
//!
//! A task that hangs delays nothing else; its answer comes as an input, be it that it came too late.

mod providers;
mod sources;
mod store;
mod watches;

use std::{collections::HashMap, sync::Arc, time::Duration};

use haldane_model::{
    Direction, EntryName, GateAnswer, JournalEntry, LeaseSeen, Outcome, Request, RequestId,
    RolloutId, SourceName,
};
use haldane_outside::Outside;
use haldane_providers::{Error, Sides, TrafficProvider};
use haldane_sources::MetricSource;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use self::watches::Watches;
use crate::{
    Command, Core, Input, Notice, explain,
    ports::{CALL_MAX, Clock, LeaseTold, STORE_DEADLINE, Store, Workloads},
    status::{DecisionStatus, Status},
};

/// How many inputs may wait.
const QUEUE_MAX: usize = 256;

/// What a call that took longer amounts to.
const TOO_LATE: &str = "no answer in time";

/// Where decisions are told; never waited for.
pub trait Sink: Send + Sync + 'static {
    /// A decision was recorded.
    fn told(&self, rollout: &RolloutId, entry: &JournalEntry);
    /// Something about the engine itself.
    fn noticed(&self, rollout: &RolloutId, notice: &Notice);
    /// The picture of a rollout is another one now.
    fn shown(&self, rollout: &RolloutId, status: &Arc<Status>) {
        let (_, _) = (rollout, status);
    }
}

/// How settings become something that can be asked.
pub trait Factory: Send + Sync + 'static {
    /// Builds a provider.
    fn provider(
        &self,
        kind: &str,
        settings: &str,
        sides: &Sides,
        outside: &Outside,
    ) -> Result<Arc<dyn TrafficProvider>, Error>;
    /// Builds a source.
    fn source(
        &self,
        kind: &str,
        settings: &str,
        outside: &Outside,
    ) -> Result<Arc<dyn MetricSource>, String>;
}

/// What every rollout of one engine shares.
#[derive(Clone)]
pub struct Ports {
    /// Where records live.
    pub store: Arc<dyn Store>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// How settings become clients.
    pub factory: Arc<dyn Factory>,
    /// The way out.
    pub outside: Outside,
    /// Where decisions are told.
    pub sink: Arc<dyn Sink>,
    /// Whether this engine may raise. Asked before every turn, so that a process that was stopped for a while
    /// knows before it does anything else.
    pub lease: watch::Receiver<LeaseTold>,
    /// What runs the sides.
    pub workloads: Arc<dyn Workloads>,
}

/// A handle on one rollout's loop.
#[derive(Clone, Debug)]
pub struct Handle {
    id: RolloutId,
    inputs: mpsc::Sender<Box<Message>>,
    status: watch::Receiver<Arc<Status>>,
}

#[derive(Debug)]
enum Message {
    Input(Input),
    Request(Request, oneshot::Sender<Outcome>),
}

/// Starts the loop of a rollout. It ends when the token is cancelled, or the rollout is gone.
pub fn start(
    id: RolloutId,
    ports: Ports,
    token: CancellationToken,
) -> (Handle, tokio::task::JoinHandle<()>) {
    let (inputs, received) = mpsc::channel(QUEUE_MAX);
    let (core, commands) = Core::new(id.clone(), ports.clock.now());
    let (publish, status) = watch::channel(Arc::new(Status::of(&core, None)));
    let (answers, answered) = mpsc::channel(QUEUE_MAX);
    let ports = Ports { outside: ports.outside.within(&id.namespace), ..ports };
    let driver = Driver {
        core,
        ports,
        lease: None,
        clients: Clients::default(),
        answers,
        waiting: HashMap::new(),
        raising: HashMap::new(),
        tasks: JoinSet::new(),
        watches: Watches::default(),
        last: None,
        swapping: false,
        publish,
    };
    let task = tokio::spawn(driver.run(commands, received, answered, token));
    (Handle { id, inputs, status }, task)
}

struct Driver {
    core: Core,
    ports: Ports,
    /// What the loop was told of the lease.
    lease: Option<LeaseSeen>,
    clients: Clients,
    /// Boxed: a channel keeps room for many, and ten thousand loops have two each.
    answers: mpsc::Sender<Box<Input>>,
    waiting: HashMap<RequestId, Vec<oneshot::Sender<Outcome>>>,
    raising: HashMap<EntryName, AbortHandle>,
    tasks: JoinSet<()>,
    /// What tells something new by itself; ended with the loop.
    watches: Watches,
    last: Option<DecisionStatus>,
    /// Whether the store has not answered the last swap.
    swapping: bool,
    publish: watch::Sender<Arc<Status>>,
}

#[derive(Default)]
struct Clients {
    /// By name, with the settings that each was built from.
    providers: HashMap<EntryName, (Arc<str>, Arc<dyn TrafficProvider>)>,
    sources: HashMap<SourceName, (Arc<str>, Arc<dyn MetricSource>)>,
}

// === impl Handle ===

impl Handle {
    /// Returns which rollout this is.
    #[must_use]
    pub fn id(&self) -> &RolloutId {
        &self.id
    }

    /// Returns the latest picture.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Returns a stream of pictures.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Wakes the loop with something new. Waits while the queue is full; `false`: the loop is over.
    pub async fn send(&self, input: Input) -> bool {
        self.inputs.send(Box::new(Message::Input(input))).await.is_ok()
    }

    /// Returns whether the loop takes nothing in any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inputs.is_closed()
    }

    /// Makes a request and waits for its outcome; `None`: the loop is over.
    pub async fn request(&self, request: Request) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.inputs.send(Box::new(Message::Request(request, answer))).await.ok()?;
        outcome.await.ok()
    }
}

// === impl Driver ===

impl Driver {
    async fn run(
        mut self,
        commands: Vec<Command>,
        mut inputs: mpsc::Receiver<Box<Message>>,
        mut answered: mpsc::Receiver<Box<Input>>,
        token: CancellationToken,
    ) {
        self.execute(commands);
        while !self.core.is_stopped() {
            self.note_lease();
            let now = self.ports.clock.now().mono;
            let until = self.ports.lease.borrow_and_update().until.filter(|until| *until > now);
            let wakes = [self.core.wake_at(), until].into_iter().flatten().min();
            let wait = wakes.map(|at| at.saturating_sub(now));
            let sleep = tokio::time::sleep(wait.unwrap_or(Duration::from_secs(3_600)));
            let input = tokio::select! {
                () = token.cancelled() => break,
                Some(input) = answered.recv() => *input,
                Some(message) = inputs.recv() => self.message(*message),
                Ok(()) = self.ports.lease.changed() => continue,
                () = sleep => Input::Tick,
            };
            // What was true when the wait began need not be true any more.
            self.note_lease();
            self.swapping &= !matches!(input, Input::Swapped(_));
            let commands = self.core.handle(input, self.ports.clock.now());
            self.execute(commands);
            self.follow_sides();
            self.show();
            while self.tasks.try_join_next().is_some() {}
        }
        // Whoever tells it something from now on hears that it is over.
        inputs.close();
        self.raising.drain().for_each(|(_, raise)| raise.abort());
        self.settle(&mut answered).await;
        self.show();
        // What was decided last goes out before the loop ends: a lowering write above all.
        let _ = tokio::time::timeout(CALL_MAX, async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
    }

    /// Tells the loop what is known of the lease now, where that is news.
    fn note_lease(&mut self) {
        let now = self.ports.clock.now();
        let seen = self.ports.lease.borrow().at(now.mono);
        if self.lease.replace(seen) != Some(seen) {
            if !matches!(seen, LeaseSeen::Held { .. }) {
                self.raising.drain().for_each(|(_, raise)| raise.abort());
            }
            let commands = self.core.handle(Input::Lease(seen), now);
            self.execute(commands);
            self.show();
        }
    }

    /// Records and tells what was decided last, and nothing more is begun: above all, no raise.
    async fn settle(&mut self, answered: &mut mpsc::Receiver<Box<Input>>) {
        let end = tokio::time::Instant::now() + STORE_DEADLINE * 2;
        while self.swapping {
            let Ok(Some(input)) = tokio::time::timeout_at(end, answered.recv()).await else {
                return;
            };
            self.swapping &= !matches!(*input, Input::Swapped(_));
            let commands = self.core.handle(*input, self.ports.clock.now());
            self.execute(commands.into_iter().filter(may_come_last).collect());
        }
    }

    fn message(&mut self, message: Message) -> Input {
        match message {
            Message::Input(input) => input,
            Message::Request(request, answer) => {
                self.waiting.entry(request.id.clone()).or_default().push(answer);
                Input::Request(request)
            }
        }
    }

    fn show(&self) {
        let status = Arc::new(Status::of(&self.core, self.last.clone()));
        let news = status.clone();
        let changed = self.publish.send_if_modified(|old| {
            let changed = **old != *status;
            *old = status;
            changed
        });
        if changed {
            self.ports.sink.shown(self.core.id(), &news);
        }
    }

    fn execute(&mut self, commands: Vec<Command>) {
        for command in commands {
            self.perform(command);
        }
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::Load => self.load(),
            Command::Swap(request) => self.swap(request),
            Command::Delete => self.delete(),
            Command::Read { entry, id } => self.read(entry, id),
            Command::Write { entry, id, split, direction, mark } => {
                self.write(entry, id, split, direction, mark);
            }
            Command::Accompany { entry, id, company, mark } => {
                self.accompany(entry, id, company, mark);
            }
            Command::Finish { entry } => self.finish(entry),
            Command::Release => self.release(),
            Command::Look { key, source, question, look } => {
                let window = look.window;
                let client = self.source(&source);
                let late = Input::Looked {
                    key: key.clone(),
                    sample: sources::no_sample(window, TOO_LATE.to_owned()),
                };
                self.spawn(late, async move {
                    let sample = match client {
                        Ok(client) => client.look(question, look).await,
                        Err(why) => sources::no_sample(window, why),
                    };
                    Input::Looked { key, sample }
                });
            }
            Command::Facts { source, deadline } => {
                let client = self.source(&source);
                let late = Input::Facts { source: source.clone(), facts: Err(TOO_LATE.to_owned()) };
                self.spawn(late, async move {
                    let facts = match client {
                        Ok(client) => client.facts(deadline).await,
                        Err(why) => Err(why),
                    };
                    Input::Facts { source, facts }
                });
            }
            Command::Revisions { side, question, deadline } => {
                self.revisions(side, question, deadline);
            }
            Command::Gate(gate) => {
                let why = "this version has no gates outside".to_owned();
                let answer = GateAnswer::Closed(why);
                let late = Input::Gate { gate: gate.name.clone(), answer: answer.clone() };
                self.spawn(late, async move { Input::Gate { gate: gate.name, answer } });
            }
            Command::Answer { id, outcome } => {
                for waiting in self.waiting.remove(&id).into_iter().flatten() {
                    let _ = waiting.send(outcome.clone());
                }
            }
            Command::Tell(entry) => {
                self.last = Some(DecisionStatus {
                    time: entry.at,
                    reason: entry.reason.code().to_owned(),
                    actor: entry.actor.to_string(),
                    message: explain::sentence(&entry),
                });
                self.ports.sink.told(self.core.id(), &entry);
            }
            Command::Notice(notice) => self.ports.sink.noticed(self.core.id(), &notice),
            Command::Stop => {}
        }
    }

    /// Runs a call in a task of its own; its answer comes back as an input. Where it takes too long,
    /// `late` does: what is asked is always answered.
    fn spawn(
        &mut self,
        late: Input,
        call: impl Future<Output = Input> + Send + 'static,
    ) -> AbortHandle {
        self.spawn_within(CALL_MAX, late, call)
    }

    /// As [`Self::spawn`], with a deadline of its own.
    fn spawn_within(
        &mut self,
        deadline: Duration,
        late: Input,
        call: impl Future<Output = Input> + Send + 'static,
    ) -> AbortHandle {
        let answers = self.answers.clone();
        self.tasks.spawn(async move {
            let input = tokio::time::timeout(deadline, call).await.unwrap_or(late);
            let _ = answers.send(Box::new(input)).await;
        })
    }
}

/// Whether a command is still carried out once the loop is to end: it puts traffic back, or says
/// what was decided.
fn may_come_last(command: &Command) -> bool {
    match command {
        Command::Swap(_)
        | Command::Delete
        | Command::Release
        | Command::Answer { .. }
        | Command::Tell(_)
        | Command::Notice(_)
        | Command::Write { direction: Direction::Lower, .. } => true,
        Command::Load
        | Command::Read { .. }
        | Command::Write { direction: Direction::Raise, .. }
        | Command::Accompany { .. }
        | Command::Finish { .. }
        | Command::Look { .. }
        | Command::Facts { .. }
        | Command::Revisions { .. }
        | Command::Gate(_)
        | Command::Stop => false,
    }
}
