//! A power cut after every write and flush, with whatever may have become of the writes since the last flush: what was
//! acknowledged is there, and the change under way is there whole or not at all.

mod support;

use std::collections::BTreeMap;

use ecusson_records::{Error, Volume};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Journal, Memory, Operation, SECTORS};

type State = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Change {
    Put(u8, usize, u8),
    Delete(u8),
}

fn name(number: u8) -> String {
    format!("config/{number}")
}

/// Makes a change on the volume and in the model; a change that does not fit is refused by both.
fn make(volume: &mut Volume<Journal>, state: &mut State, change: &Change) {
    match change {
        Change::Put(number, length, byte) => {
            let value = vec![*byte; *length];
            match volume.put(&name(*number), &value) {
                Ok(()) => {
                    state.insert(name(*number), value);
                }
                Err(error) => assert!(matches!(error, Error::Full { .. }), "{error}"),
            }
        }
        Change::Delete(number) => {
            volume.delete(&name(*number)).unwrap();
            state.remove(&name(*number));
        }
    }
}

fn state_of<D: ecusson_records::Sectors>(volume: &Volume<D>) -> State {
    volume
        .names("")
        .map(|name| (name.to_string(), volume.get(name).unwrap().to_vec()))
        .collect()
}

/// The journal of some changes on a disk, and the state after each of its operations' acknowledgements.
fn run(disk: Memory, changes: &[Change]) -> (Vec<Operation>, Vec<(usize, State)>) {
    let mut volume = Volume::open(Journal::on(disk)).unwrap();
    let mut state = state_of(&volume);
    let mut acknowledged = vec![(0, state.clone())];
    for change in changes {
        make(&mut volume, &mut state, change);
        assert_eq!(state_of(&volume), state);
        acknowledged.push((volume.disk().operations.len(), state.clone()));
    }
    (volume.into_disk().operations, acknowledged)
}

/// What may be found after a cut behind so many operations: the state before and after the change that was under way.
fn allowed(acknowledged: &[(usize, State)], cut: usize) -> [&State; 2] {
    let done = acknowledged.iter().rposition(|(at, _)| *at <= cut).unwrap();
    let under_way = (done + 1).min(acknowledged.len() - 1);
    [&acknowledged[done].1, &acknowledged[under_way].1]
}

fn formatted() -> Memory {
    Volume::format(Journal::on(Memory::new(SECTORS)))
        .unwrap()
        .into_disk()
        .now()
}

#[test]
fn every_cut_of_a_long_story_leaves_a_state_that_was() {
    let changes: Vec<Change> = (0..40_u8)
        .map(|turn| match turn % 7 {
            5 => Change::Delete(turn % 4),
            _ => Change::Put(turn % 4, usize::from(turn) * 37 % 1200, turn),
        })
        .collect();
    let disk = formatted();
    let (operations, acknowledged) = run(disk.clone(), &changes);
    let mut tried = 0;
    for cut in 0..=operations.len() {
        for after in support::after_cut(&disk, &operations[..cut]) {
            let volume = Volume::open(after.clone()).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
            let found = state_of(&volume);
            assert!(allowed(&acknowledged, cut).contains(&&found), "cut {cut}: {found:?}");
            // Life goes on, and what follows is kept too.
            let mut volume = Volume::open(after).unwrap();
            let fits = volume.put("next", b"life").is_ok();
            let mut again = Volume::open(volume.into_disk()).unwrap();
            assert_eq!(again.get("next").is_some(), fits);
            again.delete("next").unwrap();
            assert_eq!(state_of(&again), found);
            tried += 1;
        }
    }
    assert!(tried > 1000, "{tried} disks were tried");
}

#[test]
fn a_cut_while_formatting_leaves_the_old_volume_or_an_empty_one() {
    let disk = formatted();
    let (operations, acknowledged) = run(disk.clone(), &[Change::Put(1, 900, 1), Change::Put(2, 10, 2)]);
    let full = support::after_cut(&disk, &operations).pop().unwrap();
    let old = &acknowledged.last().unwrap().1;
    let again = Volume::format(Journal::on(full.clone()))
        .unwrap()
        .into_disk()
        .operations;
    for cut in 0..=again.len() {
        for after in support::after_cut(&full, &again[..cut]) {
            let found = state_of(&Volume::open(after).unwrap());
            assert!(found == *old || found.is_empty(), "cut {cut}: {found:?}");
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0_u8..5, 0_usize..1500, any::<u8>()).prop_map(|(number, length, byte)| Change::Put(number, length, byte)),
        1 => (0_u8..5).prop_map(Change::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn cut_after_cut_after_cut(stories in vec((vec(change(), 1..12), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8)) {
        let mut disk = formatted();
        let mut possible = vec![State::new()];
        for (changes, cut, fate) in stories {
            let before = state_of(&Volume::open(disk.clone()).unwrap());
            prop_assert!(possible.contains(&before));
            let (operations, acknowledged) = run(disk.clone(), &changes);
            let cut = cut.index(operations.len() + 1);
            possible = allowed(&acknowledged, cut).into_iter().cloned().collect();
            let mut fates = support::after_cut(&disk, &operations[..cut]);
            disk = fates.swap_remove(fate.index(fates.len()));
        }
        prop_assert!(possible.contains(&state_of(&Volume::open(disk).unwrap())));
    }
}
