//! Mode `Share`: one key in a map, read for every request.
//!
//! The key holds the second side's share, whichever side is on trial, so nothing in the pasted
//! configuration ever has to be turned round. Raising writes the file before the processes, so that
//! a reload never falls back behind what was confirmed; lowering writes the processes at once, and
//! a file that cannot be written does not fail it. A raise looks before it writes, and leaves a rollback
//! alone that is newer than itself. Only the key and its mark are ever changed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use haldane_model::{Direction, Health, Mark, MarkKind, Reading, Split, Weight};
use serde_json::json;

use super::{
    READ_DEADLINE, WRITE_STEP_DEADLINE,
    client::{self, Address, Fault, LEVEL},
    file::{FaultKind, FileFault, MapFile, Turn},
    map::{self, Held, Unfit},
    processes::{self, Each, Look, every},
    stat,
};
use crate::{Error, Sides, Snapshot};

/// How long the look before a raise may take.
const LOOK_DEADLINE: Duration = Duration::from_millis(200);
/// What `set map` answers where the key is not there.
const UNKNOWN_KEY: &str = "entry not found.";
/// What `del map` answers there.
const NO_KEY: &str = "Key not found.";

/// One key of one map, in every process.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) sockets: Vec<Address>,
    pub(super) map: PathBuf,
    pub(super) key: String,
    pub(super) backends: [String; 2],
    pub(super) sides: Sides,
    pub(super) file: MapFile,
    pub(super) filed: Arc<Mutex<Filed>>,
}

/// Whether the file holds a rollback that no process holds.
///
/// A rollback can reach the file alone, if the processes hang and the engine dies. Every raise yields
/// to it, so it is read as if a process held it; or nothing would ever rise again and nobody knew why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Filed {
    /// Not looked at yet, or not since a raise yielded to it.
    #[default]
    Unread,
    /// This one, or none.
    Read(Option<Mark>),
}

impl Share {
    pub(super) async fn read(&self) -> Result<Reading, Error> {
        let questions = self.questions();
        let looks = every(&self.sockets, &questions, READ_DEADLINE, |told| self.look(told));
        let (looks, filed) = futures::join!(looks, self.filed_rollback());
        let mut reading = processes::reading(&self.sides.second, looks)?;
        match filed {
            Some(filed) if reading.mark.is_none_or(|mark| mark.number < filed.number) => {
                reading.mark = Some(filed);
            }
            Some(_) => self.note_filed(Filed::Read(None)),
            None => {}
        }
        Ok(reading)
    }

    /// Returns the rollback that the file holds. It is looked up once, and not again where it hangs.
    async fn filed_rollback(&self) -> Option<Mark> {
        let known = *self.filed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Filed::Read(mark) = known {
            return mark;
        }
        self.note_filed(Filed::Read(None));
        let (file, key) = (self.file.clone(), self.key.clone());
        let held = off_the_loop(move || Ok(map::filed(&file.read()?, &key).ok())).await.ok()?;
        let mark = held?.mark.filter(|mark| mark.kind == MarkKind::Rollback)?;
        self.note_filed(Filed::Read(Some(mark)));
        Some(mark)
    }

    fn note_filed(&self, filed: Filed) {
        *self.filed.lock().unwrap_or_else(PoisonError::into_inner) = filed;
    }

    pub(super) async fn write(
        &self,
        split: &Split,
        direction: Direction,
        mark: Mark,
    ) -> Result<(), Error> {
        let share = split.share_of(&self.sides.second);
        let turn = self.file.turn();
        match direction {
            Direction::Raise => {
                // Before the file: a reload must not bring back what a process refuses.
                let looks = self.looks_before(mark).await;
                if looks.iter().any(|(_, look)| matches!(look, Err(Fault::Overruled(_)))) {
                    return processes::outcome(&looks);
                }
                let filed = self.write_file(turn, share, mark, direction).await;
                filed.map_err(|fault| self.refused_by_file(fault))?;
                processes::outcome(&self.write_processes(share, mark, direction).await)
            }
            Direction::Lower => {
                let processes = self.write_processes(share, mark, direction);
                let (each, filed) =
                    futures::join!(processes, self.write_file(turn, share, mark, direction));
                if let Err(fault) = filed {
                    tracing::warn!(key = %self.key, "lowered, but a reload would undo it: {}", fault.message);
                }
                processes::outcome(&each)
            }
        }
    }

    /// A rollback that the file alone holds is read from now on.
    fn refused_by_file(&self, fault: FileFault) -> Error {
        if matches!(fault.kind, FaultKind::Overruled) {
            self.note_filed(Filed::Unread);
        }
        file_error(fault)
    }

    /// Takes our mark away, from the file and from the processes: a mark that stays in a process is
    /// read, and the next attempt counts on from it.
    pub(super) async fn release(&self) -> Result<(), Error> {
        let key = self.key.clone();
        let edit = move |old: &[u8]| Ok(map::without_mark(old, &key));
        self.change_file(self.file.turn(), edit).await.map_err(file_error)?;
        let command = [format!("del map {} {}", self.map.display(), map::mark_key(&self.key))];
        let make = |told: &[String]| match answer(told, 0) {
            "" | NO_KEY => Ok(()),
            refusal => Err(self.refused(refusal)),
        };
        processes::outcome(&every(&self.sockets, &command, WRITE_STEP_DEADLINE, make).await)
    }

    pub(super) async fn preflight(&self) -> Result<Snapshot, Error> {
        let mut commands = vec!["show cli level".to_owned(), "show info".to_owned()];
        commands.extend(self.questions());
        let each = every(&self.sockets, &commands, READ_DEADLINE, |told| self.prove(told)).await;
        let file = self.prove_file().await;
        let told: Vec<&Proof> = each.iter().filter_map(|(_, proof)| proof.as_ref().ok()).collect();
        let filed = match (told.len() == each.len(), file) {
            (true, Ok(filed)) => filed,
            (false, Ok(_)) => return Err(processes::failure(&each)),
            (true, Err(fault)) => return Err(file_error(fault)),
            (false, Err(fault)) => {
                let message = format!("{}; {}", processes::complaints(&each), fault.message);
                return Err(Error::Invalid(message));
            }
        };
        let parts: serde_json::Map<_, _> = each
            .iter()
            .filter_map(|(at, proof)| Some((at.to_string(), proof.as_ref().ok()?.snapshot())))
            .collect();
        let settings = json!({"file": filed.share.basis_points(), "processes": parts});
        Ok(Snapshot { settings, warnings: self.warnings(&each, filed) })
    }

    fn warnings(&self, each: &Each<Proof>, filed: Held) -> Vec<String> {
        let differing = |(at, proof): &(Address, Result<Proof, Fault>)| {
            let share = proof.as_ref().ok()?.look.share;
            (share != filed.share).then(|| {
                format!(
                    "{at} gives {} to {} but the map file says {}: a reload would change the split",
                    share, self.sides.second, filed.share
                )
            })
        };
        each.iter().filter_map(differing).collect()
    }

    fn questions(&self) -> [String; 3] {
        let [first, second] = &self.backends;
        [
            format!("show map {}", self.map.display()),
            format!("show stat {first} 6 -1"),
            format!("show stat {second} 6 -1"),
        ]
    }

    fn look(&self, told: &[String]) -> Result<Look, Fault> {
        let held = self.held(answer(told, 0))?;
        let health = |at| stat::parse(answer(told, at)).map_or(Health::Untold, |be| be.health());
        Ok(Look {
            share: held.share,
            mark: held.mark,
            health: [health(1), health(2)],
            settled: true,
            in_force: None,
        })
    }

    fn held(&self, told: &str) -> Result<Held, Fault> {
        if told.lines().any(|line| !line.starts_with("0x")) {
            return Err(self.refused(told));
        }
        map::shown(told, &self.key).map_err(|unfit| self.unfit(unfit))
    }

    fn prove(&self, told: &[String]) -> Result<Proof, Fault> {
        let version = version(answer(told, 0), answer(told, 1))?;
        let look = self.look(&told[2..])?;
        for (at, backend) in self.backends.iter().enumerate() {
            if stat::parse(answer(told, 3 + at)).is_none() {
                return Err(Fault::Refused(format!(
                    "there is no backend {backend:?}; correct destinations, or add it to haproxy.cfg"
                )));
            }
        }
        Ok(Proof { version, look })
    }

    /// Returns what the file holds, once it is proved that it can be replaced.
    async fn prove_file(&self) -> Result<Held, FileFault> {
        let (file, key, path) = (self.file.clone(), self.key.clone(), self.map.clone());
        off_the_loop(move || {
            let held =
                map::filed(&file.read()?, &key).map_err(|unfit| missing(&path, &key, unfit))?;
            file.prove_writable(WRITE_STEP_DEADLINE)?;
            Ok(held)
        })
        .await
    }

    async fn write_file(
        &self,
        turn: Turn,
        share: Weight,
        mark: Mark,
        direction: Direction,
    ) -> Result<(), FileFault> {
        let (key, path) = (self.key.clone(), self.map.clone());
        let edit = move |old: &[u8]| match direction {
            Direction::Raise => {
                let held = map::filed(old, &key).ok().and_then(|held| held.mark);
                if let Some(held) = held.filter(|held| mark.yields_to(held)) {
                    return Err(overruled(&path, held));
                }
                map::with(old, &key, share, mark)
                    .ok_or_else(|| missing(&path, &key, Unfit::Missing))
            }
            Direction::Lower => Ok(map::with_added(old, &key, share, mark)),
        };
        self.change_file(turn, edit).await
    }

    async fn change_file(
        &self,
        turn: Turn,
        edit: impl FnOnce(&[u8]) -> Result<Vec<u8>, FileFault> + Send + 'static,
    ) -> Result<(), FileFault> {
        let file = self.file.clone();
        off_the_loop(move || file.change(turn, WRITE_STEP_DEADLINE / 2, edit)).await
    }

    /// Looks whether a process holds a rollback that a raise under this mark does not know. One that
    /// does not answer is no obstacle here: the write to it fails by itself.
    async fn looks_before(&self, mark: Mark) -> Each<()> {
        let question = [format!("show map {}", self.map.display())];
        every(&self.sockets, &question, LOOK_DEADLINE, |told| self.yields(told, mark)).await
    }

    fn yields(&self, told: &[String], mark: Mark) -> Result<(), Fault> {
        match map::shown(answer(told, 0), &self.key).ok().and_then(|held| held.mark) {
            Some(held) if mark.yields_to(&held) => Err(Fault::Overruled(held)),
            Some(_) | None => Ok(()),
        }
    }

    async fn write_processes(&self, share: Weight, mark: Mark, direction: Direction) -> Each<()> {
        join_all(self.sockets.iter().map(|address| async move {
            let written = self.write_process(address, share, mark, direction);
            let written = tokio::time::timeout(WRITE_STEP_DEADLINE, written);
            (address.clone(), written.await.unwrap_or(Err(Fault::Hung(WRITE_STEP_DEADLINE))))
        }))
        .await
    }

    /// Sets mark and share in one line, the mark first: a share of ours never stands unsigned. An
    /// entry that is not there is added: the mark always, the share where it lowers.
    async fn write_process(
        &self,
        address: &Address,
        share: Weight,
        mark: Mark,
        direction: Direction,
    ) -> Result<(), Fault> {
        let map = self.map.display();
        let entries = [
            (map::mark_key(&self.key), mark.to_string(), true),
            (self.key.clone(), share.basis_points().to_string(), direction == Direction::Lower),
        ];
        if direction == Direction::Raise {
            // The socket cannot compare and set: what is left is the moment between these two calls.
            let question = [format!("show map {map}")];
            self.yields(&client::ask(address, &question, WRITE_STEP_DEADLINE).await?, mark)?;
        }
        let set = entries.each_ref().map(|(key, value, _)| format!("set map {map} {key} {value}"));
        let told = client::ask(address, &set, WRITE_STEP_DEADLINE).await?;
        let mut add = Vec::new();
        for (at, (key, value, addable)) in entries.iter().enumerate() {
            match answer(&told, at) {
                "" => {}
                // Taken away first, so that two that add at once leave no second entry.
                UNKNOWN_KEY if *addable => {
                    add.push(format!("del map {map} {key}"));
                    add.push(format!("add map {map} {key} {value}"));
                }
                UNKNOWN_KEY => return Err(self.unfit(Unfit::Missing)),
                refusal => return Err(self.refused(refusal)),
            }
        }
        if add.is_empty() {
            return Ok(());
        }
        let told = client::ask(address, &add, WRITE_STEP_DEADLINE).await?;
        match told.iter().map(|told| told.trim()).find(|told| !["", NO_KEY].contains(told)) {
            None => Ok(()),
            Some(refusal) => Err(self.refused(refusal)),
        }
    }

    fn unfit(&self, unfit: Unfit) -> Fault {
        let (map, key) = (self.map.display(), &self.key);
        Fault::Refused(match unfit {
            Unfit::Missing => format!(
                "key {key:?} is not in map {map}; add the line `{key} 0` to the file and run \
                 `haldane haproxy snippet` for the rest, then reload haproxy"
            ),
            Unfit::Twice => format!(
                "key {key:?} is in map {map} more than once; leave one line of it in the file, then \
                 reload haproxy"
            ),
        })
    }

    fn refused(&self, told: &str) -> Fault {
        if told.starts_with("Unknown map identifier") {
            let map = self.map.display();
            return Fault::Refused(format!(
                "map {map} is not loaded; run `haldane haproxy snippet`, paste what it prints into \
                 haproxy.cfg and reload haproxy"
            ));
        }
        Fault::refusal(told)
    }
}

/// What a process proved.
struct Proof {
    version: String,
    look: Look,
}

impl Proof {
    fn snapshot(&self) -> serde_json::Value {
        let mark = self.look.mark.map(|mark| mark.to_string());
        json!({"version": self.version, "share": self.look.share.basis_points(), "mark": mark})
    }
}

/// Returns the version of a process that lets us do everything.
pub(super) fn version(level: &str, info: &str) -> Result<String, Fault> {
    if level != "admin" {
        return Err(Fault::Refused(LEVEL.into()));
    }
    match info.lines().find_map(|line| line.strip_prefix("Version: ")) {
        Some(version) => Ok(version.to_owned()),
        None => Err(Fault::Refused("it is no haproxy: `show info` tells no version".into())),
    }
}

/// Returns one answer, without the white space around it.
pub(super) fn answer(told: &[String], at: usize) -> &str {
    told.get(at).map_or("", |answer| answer.trim())
}

fn missing(map: &std::path::Path, key: &str, unfit: Unfit) -> FileFault {
    let map = map.display();
    let message = match unfit {
        Unfit::Missing => format!(
            "key {key:?} is not in map file {map}; add the line `{key} 0` as \
             `haldane haproxy snippet` shows, and reload haproxy"
        ),
        Unfit::Twice => {
            format!("key {key:?} is in map file {map} more than once; leave one line of it")
        }
    };
    FileFault { kind: FaultKind::NeedsPerson, message }
}

fn overruled(map: &std::path::Path, held: Mark) -> FileFault {
    let message = format!(
        "map file {} carries {held}, which is newer than this raise; nothing was written",
        map.display()
    );
    FileFault { kind: FaultKind::Overruled, message }
}

fn file_error(fault: FileFault) -> Error {
    match fault.kind {
        FaultKind::NeedsPerson => Error::Invalid(fault.message),
        FaultKind::Passing => Error::Unavailable(fault.message),
        FaultKind::Overruled => Error::Conflict(fault.message),
    }
}

/// Runs what blocks on a disk where it blocks nobody, for a limited time.
async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileFault> + Send + 'static,
) -> Result<T, FileFault> {
    let gone = |message: String| FileFault { kind: FaultKind::Passing, message };
    match tokio::time::timeout(WRITE_STEP_DEADLINE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(gone(format!("the map file was not handled: {error}"))),
        Err(_) => Err(gone(format!("the map file did not answer within {WRITE_STEP_DEADLINE:?}"))),
    }
}

/// How long one step of a raise may take: a look, the file and the processes, in a row.
const _: () = assert!(
    (LOOK_DEADLINE.as_millis() + 2 * WRITE_STEP_DEADLINE.as_millis())
        <= super::WRITE_DEADLINE.as_millis()
);
