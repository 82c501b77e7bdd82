//! What the paths of requests leave for the thread.

use std::sync::Arc;

use super::super::events::{Event, Inbox, Model, Place};
use super::super::front::Told;

fn model(number: u64) -> Arc<Model> {
    Arc::new(Model { number, name: format!("model {number}"), version: 1 })
}

fn taken(inbox: &mut Inbox) -> Vec<Event> {
    let mut events = Vec::new();
    inbox.take(&mut events);
    events
}

fn end(inbox: &mut Inbox, place: Box<Place>) -> bool {
    inbox.end(place, (0, 1), Told::default())
}

/// The kinds of events, with the slot or the class that they are of.
fn kinds(events: &[Event]) -> Vec<(&'static str, u64)> {
    let kind = |event: &Event| match event {
        Event::Opened { class, .. } => ("opened", class.0),
        Event::Retired { class } => ("retired", class.0),
        Event::Attached { slot, .. } => ("attached", *slot),
        Event::Started { slot, .. } => ("started", *slot),
        Event::Ended { slot, .. } => ("ended", *slot),
        Event::Failed { slot, .. } => ("failed", *slot),
    };
    events.iter().map(kind).collect()
}

fn started(event: &Event) -> (u64, u64) {
    let Event::Started { class, sequence, .. } = event else { panic!("{event:?}") };
    (class.0, *sequence)
}

#[test]
fn the_ledger_knows_place_and_class_before_an_execution() {
    let (mut inbox, one) = (Inbox::default(), model(1));
    let first = inbox.begin(&one, 4, 0).unwrap();
    let second = inbox.begin(&one, 4, 0).unwrap();
    assert!(end(&mut inbox, first));
    inbox.fail(second, (0, 1));
    let events = taken(&mut inbox);
    let class = started(&events[2]).0;
    let expected = [
        ("attached", 0),
        ("opened", class),
        ("started", 0),
        ("attached", 1),
        ("started", 1),
        ("ended", 0),
        ("failed", 1),
    ];
    assert_eq!(kinds(&events), expected);
    // Places are used again, the last one first, and each execution in one has a number of its own.
    let again = inbox.begin(&one, 4, 0).unwrap();
    let events = taken(&mut inbox);
    assert_eq!(kinds(&events), [("started", 1)]);
    assert_eq!(started(&events[0]), (class, 2));
    drop(again);
}

#[test]
fn a_place_takes_executions_of_any_model_and_size() {
    let (mut inbox, one, two) = (Inbox::default(), model(1), model(2));
    let mut class_of = |model: &Arc<Model>, rows| {
        let place = inbox.begin(model, rows, 0).unwrap();
        end(&mut inbox, place);
        let events = taken(&mut inbox);
        let opened = events.iter().filter(|event| matches!(event, Event::Opened { .. })).count();
        let start = events.iter().find(|event| matches!(event, Event::Started { .. })).unwrap();
        (started(start).0, opened)
    };
    let first = class_of(&one, 1);
    let others = [class_of(&one, 2), class_of(&two, 1), class_of(&two, 2)];
    assert!(others.iter().all(|other| other.1 == 1 && other.0 != first.0));
    assert_eq!((class_of(&one, 1), class_of(&two, 1)), ((first.0, 0), (others[1].0, 0)));
    // A model that is gone takes its classes with it; one that has its number would open new ones.
    inbox.retire(1);
    let mut retired: Vec<u64> = kinds(&taken(&mut inbox)).into_iter().map(|(_, class)| class).collect();
    retired.sort_unstable();
    assert_eq!(retired, [first.0, others[0].0]);
}

#[test]
fn an_execution_without_a_place_is_told_and_known_when_it_has_ended() {
    let (mut inbox, one, two) = (Inbox::default(), model(1), model(2));
    let (told, cost) = inbox.ran((&one, 1), (0, 5)).unwrap();
    assert_eq!((told.uj, cost), (0, None), "nothing is learnt yet");
    inbox.failed((&one, 1), (5, 9));
    inbox.ran((&two, 1), (9, 10)).unwrap();
    inbox.ran((&one, 1), (10, 11)).unwrap();
    let running = inbox.begin(&one, 1, 0).unwrap();
    let events = taken(&mut inbox);
    let names: Vec<_> = kinds(&events).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["opened", "ended", "failed", "opened", "ended", "ended", "attached", "started"]);
    let class = |event: &Event| match event {
        Event::Opened { class, .. } | Event::Ended { class, .. } | Event::Failed { class, .. } => *class,
        _ => panic!("{event:?}"),
    };
    assert!([1, 2, 5].iter().all(|at| class(&events[*at]) == class(&events[0])));
    assert_eq!(class(&events[4]), class(&events[3]));
    assert_eq!(class(&events[0]).0, started(&events[7]).0, "the same with a place");
    end(&mut inbox, running);
    inbox.close();
    assert_eq!(inbox.ran((&one, 1), (0, 5)), None);
}

#[test]
fn what_nobody_takes_is_bounded_and_told_to_nobody() {
    let (mut inbox, one) = (Inbox::default(), model(1));
    let running = inbox.begin(&one, 1, 0).unwrap();
    let mut count = 0;
    while let Some(place) = inbox.begin(&one, 2, 0) {
        end(&mut inbox, place);
        count += 1;
    }
    assert!((30_000..40_000).contains(&count), "{count} executions");
    assert!(!end(&mut inbox, running), "the ledger does not learn of it");
    let kept = taken(&mut inbox).len();
    assert!(inbox.begin(&one, 1, 0).is_some(), "{kept} were taken out");
    inbox.close();
    assert!(inbox.begin(&one, 1, 0).is_none());
    inbox.retire(1);
}

#[test]
fn a_burst_does_not_keep_its_memory() {
    let (mut inbox, one, mut events) = (Inbox::default(), model(1), Vec::new());
    for _ in 0..30_000 {
        let place = inbox.begin(&one, 1, 0).unwrap();
        end(&mut inbox, place);
    }
    for _ in 0..3 {
        inbox.take(&mut events);
    }
    assert!(events.is_empty() && events.capacity() < 5_000, "{}", events.capacity());
}
