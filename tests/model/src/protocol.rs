//! The actors and the world of the model.

use domain::alert::{AlertAbout, AlertEvent};
use domain::guards::{self, Guard};
use domain::run::{AbandonReason, RunEvent};
use domain::work_item::{GiveUp, ItemEvent, ItemRefusal};
use stateright::{Model, Property};

use crate::rows::{Alert, FoldRow, Item, ItemRow, PORTFOLIOS, Phase, RunRow, lease, now, owner, plan};

/// What may go wrong, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Actors that die.
    pub deaths: u8,
    /// Leases that pass although their holder may live.
    pub expiries: u8,
    /// Deliveries that a worker takes.
    pub deliveries: u8,
}

/// Which part of the protocol is looked at: the product of everything is too large for more than the smallest budget.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// Planners, 1 or 2.
    pub planners: usize,
    /// Workers, 0 to 2.
    pub workers: usize,
    /// Closers, 1 or 2.
    pub closers: usize,
    /// What may go wrong.
    pub budget: Budget,
}

/// Where an actor is in its use case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing to do, or done.
    Idle,
    /// Dead.
    Dead,
    /// Planner: create the run or take it over.
    Create,
    /// Planner: write the manifest under this epoch.
    Manifest(u8),
    /// Planner: seal this epoch.
    Seal(u8),
    /// Planner: send the messages of the sealed manifest.
    Send,
    /// Worker: claim this item.
    Claim(u8),
    /// Worker: finish this item under this attempt, well or not.
    Finish(u8, u8, bool),
    /// Worker: count this item, with what it remembers of it.
    Count(u8, bool),
    /// Worker: mark the bucket full.
    Mark(u8),
    /// Worker: ask for the close.
    Ask(u8),
    /// Closer: read that everything is counted.
    Look,
    /// Closer: claim.
    ClaimClose,
    /// Closer of this epoch: write the summary.
    Summary(u8),
    /// Closer: claim the alert.
    ClaimAlert(u8),
    /// Closer: deliver it.
    Deliver(u8),
    /// Closer: mark it sent.
    Sent(u8),
    /// Closer: close the run.
    Close(u8),
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    run: Option<RunRow>,
    /// Whose list stands in the manifest of each epoch.
    manifests: [Option<u8>; 3],
    items: [ItemRow; PORTFOLIOS],
    fold: FoldRow,
    full: bool,
    summary: Option<[u8; 3]>,
    alert: Alert,
    deliveries: u8,
    messages: [bool; PORTFOLIOS],
    close_asked: bool,
    deadline_passed: bool,
    /// Planners, then workers, then closers.
    actors: Vec<Step>,
    /// A request whose sender is dead: who sent it, and which step it is.
    late: Option<(usize, Step)>,
    left: Budget,
    /// Each item as it first ended.
    ended: [Option<Item>; PORTFOLIOS],
    /// What must never be, once it was.
    broken: Option<&'static str>,
    /// Whether somebody died or lost a lease between the claim of the alert and its end.
    alert_disturbed: bool,
    seen: Seen,
}

/// What happened on the way, for the `sometimes` properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Seen {
    planner_takeover: bool,
    planner_refused: bool,
    lease_takeover: bool,
    late_refused: bool,
    second_closer: bool,
    timed_out: bool,
    abandoned_planner_refused: bool,
}

/// What can happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// An actor does its step. A worker that finishes does so well or not.
    Go(usize),
    /// A worker takes the message of an item.
    Take(usize, u8),
    /// A worker that works ends badly instead of well.
    Fail(usize),
    /// A closer takes the request to close.
    TakeClose(usize),
    /// An actor dies before its step.
    Die(usize),
    /// An actor dies, and its request is carried out later.
    DieInFlight(usize),
    /// It is carried out now.
    Land,
    /// The lease of the planner or closer passes.
    ExpireRun,
    /// The lease of an item passes.
    ExpireItem(u8),
    /// The lease of the alert passes.
    ExpireAlert,
    /// The deadline passes.
    Deadline,
    /// The watch looks at an item.
    Watch(u8),
    /// The watch looks at the run.
    WatchRun,
    /// The run is abandoned: somebody cancels it, or its planning deadline has passed.
    Abandon,
}

impl Protocol {
    fn kind(&self, actor: usize) -> usize {
        usize::from(actor >= self.planners) + usize::from(actor >= self.planners + self.workers)
    }

    fn is_sealed(world: &World) -> bool {
        world.run.is_some_and(|run| run.sealed.is_some())
    }

    fn is_abandoned(world: &World) -> bool {
        world.run.is_some_and(|run| run.abandoned)
    }

    /// Carries out the call of a step, and gives the step after it.
    #[expect(clippy::too_many_lines, reason = "total: an arm for each step of the protocol")]
    fn call(&self, world: &mut World, actor: usize, step: Step) -> Step {
        let me = u8::try_from(actor).unwrap_or(u8::MAX);
        match step {
            Step::Create => self.create(world, me),
            Step::Manifest(epoch) => {
                let slot = if guards::on(Guard::Epoch) { epoch } else { 1 };
                world.manifests[usize::from(slot).min(2)] = Some(me);
                Step::Seal(epoch)
            }
            Step::Seal(epoch) => {
                let Some(run) = world.run else { return Step::Idle };
                let epoch = if guards::on(Guard::Epoch) { epoch } else { 1 };
                match run.next(&RunEvent::Seal { plan: Box::new(plan(epoch, me)) }) {
                    Some(next) => {
                        if run.sealed.is_some() {
                            world.broken = Some("the plan was sealed twice");
                        }
                        world.run = Some(next);
                        Step::Send
                    }
                    None => {
                        world.seen.planner_refused = true;
                        world.seen.abandoned_planner_refused |= run.abandoned;
                        Step::Idle
                    }
                }
            }
            Step::Send => {
                world.messages = [true; PORTFOLIOS];
                Step::Idle
            }
            Step::Claim(index) => Self::claim(world, me, index),
            Step::Finish(index, attempt, well) => Self::finish(world, me, index, attempt, well),
            Step::Count(index, well) => {
                let row = world.items[usize::from(index)];
                let counted = if guards::on(Guard::FoldFromRecord) {
                    row
                } else {
                    ItemRow { item: Item::Done(well), attempt: row.attempt }
                };
                if let Some(entry) = counted.entry(usize::from(index)) {
                    world.fold = world.fold.count(&entry);
                }
                if world.fold.counted() == PORTFOLIOS { Step::Mark(index) } else { Self::acknowledge(world, index) }
            }
            Step::Mark(index) => {
                world.full = true;
                Step::Ask(index)
            }
            Step::Ask(index) => {
                world.close_asked = true;
                Self::acknowledge(world, index)
            }
            Step::Look => {
                if world.fold.counted() == PORTFOLIOS || Self::is_abandoned(world) {
                    Step::ClaimClose
                } else {
                    Step::Idle
                }
            }
            Step::ClaimClose => {
                let event = RunEvent::ClaimClose { owner: owner(me), now: now(), lease_until: lease(true) };
                let Some((run, next)) = world.run.and_then(|run| Some((run, run.next(&event)?))) else {
                    return Step::Idle;
                };
                world.seen.second_closer |= matches!(run.phase, Phase::Closing(..));
                world.run = Some(next);
                Step::Summary(next.close_epoch)
            }
            Step::Summary(epoch) => {
                let sums = Self::recount(world);
                match world.summary {
                    None => world.summary = Some(sums),
                    Some(first) if first != sums => world.broken = Some("two closers computed different summaries"),
                    Some(_) => {}
                }
                Step::ClaimAlert(epoch)
            }
            Step::ClaimAlert(epoch) => {
                let claim = AlertEvent::Claim {
                    owner: owner(me),
                    now: now(),
                    lease_until: lease(true),
                    about: AlertAbout::Run,
                };
                match world.alert.next(&claim) {
                    Some(next) => {
                        world.alert_disturbed |= world.alert != Alert::Open;
                        world.alert = next;
                        Step::Deliver(epoch)
                    }
                    None if guards::on(Guard::AlertClaim) => Step::Close(epoch),
                    None => Step::Deliver(epoch),
                }
            }
            Step::Deliver(epoch) => {
                world.deliveries = (world.deliveries + 1).min(3);
                Step::Sent(epoch)
            }
            Step::Sent(epoch) => {
                world.alert =
                    world.alert.next(&AlertEvent::Sent { owner: owner(me), now: now() }).unwrap_or(world.alert);
                Step::Close(epoch)
            }
            Step::Close(epoch) => {
                if let Some(next) = world.run.and_then(|run| run.next(&RunEvent::Close { epoch: u32::from(epoch) })) {
                    world.run = Some(next);
                }
                Step::Idle
            }
            Step::Idle | Step::Dead => step,
        }
    }

    fn create(&self, world: &mut World, me: u8) -> Step {
        let Some(run) = world.run else {
            world.run = Some(RunRow {
                phase: Phase::Planning(me, true),
                plan_epoch: 1,
                close_epoch: 0,
                sealed: None,
                abandoned: false,
            });
            return Step::Manifest(1);
        };
        match run.phase {
            Phase::Planning(by, _) if by == me => Step::Manifest(run.plan_epoch),
            Phase::Planning(..) if run.plan_epoch < 2 => {
                let take = RunEvent::TakeOverPlan { owner: owner(me), now: now(), lease_until: lease(true) };
                match run.next(&take) {
                    Some(next) => {
                        world.seen.planner_takeover = true;
                        world.run = Some(next);
                        Step::Manifest(next.plan_epoch)
                    }
                    None => Step::Idle,
                }
            }
            _ => Step::Idle,
        }
    }

    fn claim(world: &mut World, me: u8, index: u8) -> Step {
        let row = world.items[usize::from(index)];
        let claim = ItemEvent::Claim { owner: owner(me), now: now(), lease_until: lease(true) };
        match row.next(usize::from(index), &claim) {
            Ok(next) => {
                world.seen.lease_takeover |= matches!(row.item, Item::Working(..));
                world.items[usize::from(index)] = next;
                if guards::on(Guard::FoldAfterTerminal) {
                    Step::Finish(index, next.attempt, true)
                } else {
                    if let Some(entry) = next.entry(usize::from(index)) {
                        world.fold = world.fold.count(&entry);
                    }
                    Step::Finish(index, next.attempt, true)
                }
            }
            Err(ItemRefusal::Terminal) => Step::Count(index, true),
            Err(_) => Step::Idle,
        }
    }

    fn finish(world: &mut World, me: u8, index: u8, attempt: u8, well: bool) -> Step {
        let at = usize::from(index);
        let row = world.items[at];
        match row.next(at, &row.finish(at, me, attempt, well)) {
            Ok(next) => {
                if !matches!(row.item, Item::Working(by, _) if by == me && row.attempt == attempt) {
                    world.broken = Some("a worker that does not hold the claim finished");
                }
                Self::end(world, at, next);
                Step::Count(index, well)
            }
            Err(_) => {
                world.seen.late_refused = true;
                if guards::on(Guard::FoldFromRecord) { Step::Idle } else { Step::Count(index, well) }
            }
        }
    }

    fn end(world: &mut World, at: usize, next: ItemRow) {
        if world.ended[at].is_some_and(|ended| ended != next.item) {
            world.broken = Some("an ended item changed");
        }
        world.ended[at] = Some(next.item);
        world.items[at] = next;
    }

    fn acknowledge(world: &mut World, index: u8) -> Step {
        world.messages[usize::from(index)] = false;
        Step::Idle
    }

    fn recount(world: &World) -> [u8; 3] {
        let mut fold = FoldRow::default();
        for (index, row) in world.items.iter().enumerate() {
            if let Some(entry) = row.entry(index).filter(|_| row.has_ended()) {
                fold = fold.count(&entry);
            }
        }
        fold.sums
    }

    /// The watch looks at an item: counts one that has ended, gives up one past the deadline, sends an idle one again.
    fn watch(world: &mut World, index: u8) {
        let at = usize::from(index);
        if world.fold.done & (1 << index) != 0 || !guards::on(Guard::Sweeper) {
            return;
        }
        if world.deadline_passed && !world.items[at].has_ended() {
            let settle = ItemEvent::Settle { why: GiveUp::TimedOut, now: now() };
            if let Ok(next) = world.items[at].next(at, &settle) {
                world.seen.timed_out = true;
                Self::end(world, at, next);
            }
        }
        if let Some(entry) = world.items[at].entry(at).filter(|_| world.items[at].has_ended()) {
            world.fold = world.fold.count(&entry);
        } else if !matches!(world.items[at].item, Item::Working(_, true)) {
            world.messages[at] = true;
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut actors = vec![Step::Create; self.planners];
        actors.extend(vec![Step::Idle; self.workers + self.closers]);
        vec![World {
            run: None,
            manifests: [None; 3],
            items: [ItemRow::UNTOUCHED; PORTFOLIOS],
            fold: FoldRow::default(),
            full: false,
            summary: None,
            alert: Alert::Open,
            deliveries: 0,
            messages: [false; PORTFOLIOS],
            close_asked: false,
            deadline_passed: false,
            actors,
            late: None,
            left: self.budget,
            ended: [None; PORTFOLIOS],
            broken: None,
            alert_disturbed: false,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.run.is_some_and(|run| run.phase == Phase::Closed) && world.late.is_none() {
            // What the living still do changes nothing that a reader sees; the end of the story.
            return;
        }
        for (actor, step) in world.actors.iter().enumerate() {
            match step {
                Step::Dead => {}
                Step::Idle if self.kind(actor) == 1 && world.left.deliveries > 0 => {
                    let waiting = (0..PORTFOLIOS as u8).filter(|index| world.messages[usize::from(*index)]);
                    actions.extend(waiting.map(|index| Action::Take(actor, index)));
                }
                Step::Idle if self.kind(actor) == 2 && world.close_asked => actions.push(Action::TakeClose(actor)),
                Step::Idle => {}
                busy => {
                    actions.push(Action::Go(actor));
                    if matches!(busy, Step::Finish(_, _, true)) {
                        actions.push(Action::Fail(actor));
                    }
                    if world.left.deaths > 0 {
                        actions.push(Action::Die(actor));
                        if world.late.is_none() {
                            actions.push(Action::DieInFlight(actor));
                        }
                    }
                }
            }
        }
        if world.late.is_some() {
            actions.push(Action::Land);
        }
        if world.left.expiries > 0 {
            if matches!(world.run.map(|run| run.phase), Some(Phase::Planning(_, true) | Phase::Closing(_, true))) {
                actions.push(Action::ExpireRun);
            }
            for (index, row) in (0..).zip(&world.items) {
                if matches!(row.item, Item::Working(_, true)) {
                    actions.push(Action::ExpireItem(index));
                }
            }
            if matches!(world.alert, Alert::Sending(_, true)) {
                actions.push(Action::ExpireAlert);
            }
        }
        if Self::is_sealed(world) && guards::on(Guard::Sweeper) {
            if !world.deadline_passed {
                actions.push(Action::Deadline);
            }
            for index in 0..PORTFOLIOS as u8 {
                if world.fold.done & (1 << index) == 0 {
                    actions.push(Action::Watch(index));
                }
            }
        }
        if guards::on(Guard::Sweeper) {
            actions.push(Action::WatchRun);
        }
        // While a planner is at work, and after it is gone: the phase is the fence.
        if matches!(world.run.map(|run| run.phase), Some(Phase::Planning(..))) {
            actions.push(Action::Abandon);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Go(actor) => {
                let step = world.actors[actor];
                world.actors[actor] = self.call(&mut world, actor, step);
            }
            Action::Take(actor, index) => {
                world.left.deliveries -= 1;
                world.actors[actor] = Step::Claim(index);
            }
            Action::Fail(actor) => {
                let Step::Finish(index, attempt, _) = world.actors[actor] else { return None };
                world.actors[actor] = Step::Finish(index, attempt, false);
            }
            Action::TakeClose(actor) => {
                world.close_asked = false;
                world.actors[actor] = Step::Look;
            }
            Action::Die(actor) | Action::DieInFlight(actor) => {
                world.left.deaths -= 1;
                if matches!(action, Action::DieInFlight(_)) {
                    world.late = Some((actor, world.actors[actor]));
                }
                world.alert_disturbed |= matches!(world.actors[actor], Step::Deliver(_) | Step::Sent(_));
                world.actors[actor] = Step::Dead;
            }
            Action::Land => {
                let (actor, step) = world.late.take()?;
                // Whatever it would have done next, it is dead.
                let _after = self.call(&mut world, actor, step);
            }
            Action::ExpireRun => {
                world.left.expiries -= 1;
                let run = world.run.as_mut()?;
                run.phase = match run.phase {
                    Phase::Planning(by, _) => Phase::Planning(by, false),
                    Phase::Closing(by, _) => Phase::Closing(by, false),
                    other => other,
                };
            }
            Action::ExpireItem(index) => {
                world.left.expiries -= 1;
                let row = &mut world.items[usize::from(index)];
                if let Item::Working(by, _) = row.item {
                    row.item = Item::Working(by, false);
                }
            }
            Action::ExpireAlert => {
                world.left.expiries -= 1;
                world.alert_disturbed = true;
                if let Alert::Sending(by, _) = world.alert {
                    world.alert = Alert::Sending(by, false);
                }
            }
            Action::Deadline => world.deadline_passed = true,
            Action::Watch(index) => Self::watch(&mut world, index),
            Action::WatchRun => self.watch_run(&mut world)?,
            Action::Abandon => {
                let event = RunEvent::AbandonPlan { now: now(), reason: AbandonReason::Overdue };
                world.run = Some(world.run?.next(&event)?);
                world.close_asked = true;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always("I1, I2: nothing that has ended changes, nobody stale writes", |_, world| {
                world.broken.is_none()
            }),
            Property::<Self>::always("I3: what is counted has ended", |_, world| {
                world.items.iter().enumerate().all(|(at, row)| world.fold.done & (1 << at) == 0 || row.has_ended())
            }),
            Property::<Self>::always("I4: each place is counted once, as it is on record", |_, world| {
                let mut counted = FoldRow::default();
                for (at, row) in world.items.iter().enumerate().filter(|(at, _)| world.fold.done & (1 << at) != 0) {
                    counted = row.entry(at).map_or(counted, |entry| counted.count(&entry));
                }
                counted.sums == world.fold.sums
            }),
            Property::<Self>::always("I5: a full bucket is counted whole", |_, world| {
                !world.full || world.fold.counted() == PORTFOLIOS
            }),
            Property::<Self>::always("I6: the sealed manifest is the list that its planner read", |_, world| {
                let sealed = world.run.and_then(|run| run.sealed);
                sealed.is_none_or(|(epoch, list)| world.manifests[usize::from(epoch).min(2)] == Some(list))
            }),
            Property::<Self>::always("I7: the summary is the records and the fold", |_, world| {
                world.summary.is_none_or(|summary| summary == Self::recount(world) && summary == world.fold.sums)
            }),
            Property::<Self>::always("A7: the alert comes twice only after a death or a passed lease", |_, world| {
                world.deliveries <= 1 || world.alert_disturbed
            }),
            Property::<Self>::always("A1: a closed run has every portfolio", |_, world| {
                !world.run.is_some_and(|run| run.phase == Phase::Closed)
                    || Self::is_abandoned(world)
                    || (world.summary.is_some() && world.items.iter().all(|row| row.has_ended()))
            }),
            Property::<Self>::always(
                "A5: a run is sealed or abandoned, and nobody works on an abandoned one",
                |_, world| {
                    !world.run.is_some_and(|run| run.abandoned)
                        || (!Self::is_sealed(world) && world.items.iter().all(|row| *row == ItemRow::UNTOUCHED))
                },
            ),
            Property::<Self>::sometimes("A5: an abandoned run is closed", |_, world| {
                Self::is_abandoned(world)
                    && world.summary == Some([0, 0, 0])
                    && world.run.is_some_and(|run| run.phase == Phase::Closed)
            }),
            Property::<Self>::sometimes("a planner comes after its run was abandoned", |_, world| {
                world.seen.abandoned_planner_refused
            }),
            Property::<Self>::sometimes("a run is closed with success", |_, world| {
                world.run.is_some_and(|run| run.phase == Phase::Closed) && world.summary == Some([2, 0, 0])
            }),
            Property::<Self>::sometimes("a late result is refused", |_, world| world.seen.late_refused),
            Property::<Self>::sometimes("an item times out", |_, world| world.seen.timed_out),
        ];
        if self.workers > 1 && self.budget.expiries > 0 {
            properties.push(Property::<Self>::sometimes("an item is taken over", |_, w| w.seen.lease_takeover));
        }
        if self.planners > 1 && self.budget.expiries > 0 {
            properties.push(Property::<Self>::sometimes("a planner is taken over", |_, w| w.seen.planner_takeover));
            properties.push(Property::<Self>::sometimes("a planner is too late", |_, w| w.seen.planner_refused));
        }
        if self.closers > 1 && self.budget.expiries > 0 {
            properties.push(Property::<Self>::sometimes("a second closer", |_, w| w.seen.second_closer));
        }
        properties
    }
}

impl Protocol {
    /// The watch looks at the run: plans one whose planner is gone, asks for the close of one that is counted whole.
    /// None where there is nothing to do.
    fn watch_run(&self, world: &mut World) -> Option<()> {
        let run = world.run?;
        match run.phase {
            Phase::Planning(_, false) => {
                let idle =
                    world.actors[..self.planners].iter().position(|step| matches!(step, Step::Idle | Step::Dead))?;
                world.actors[idle] = Step::Create;
                Some(())
            }
            Phase::Running | Phase::Closing(_, false)
                if (world.fold.counted() == PORTFOLIOS || run.abandoned) && !world.close_asked =>
            {
                world.full = !run.abandoned;
                world.close_asked = true;
                let first = self.planners + self.workers;
                if world.actors[first..].iter().all(|step| matches!(step, Step::Dead)) {
                    // Somebody else takes the message.
                    world.actors[first] = Step::Idle;
                }
                Some(())
            }
            _ => None,
        }
    }
}
