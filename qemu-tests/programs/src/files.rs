//! The parts that hold data files. The runner makes the large one: its words are the multiples of a constant.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, Rights};
use ecusson_manifest::layout::slots;
use ecusson_rt::cap::kind::Space;
use ecusson_rt::time::Clock;
use ecusson_rt::{Cap, File, Progress, environment, exit, println, sys};

use crate::parts::succeed;

/// Each word of the large file is this times its number, from 1.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// Lives of the reader: it dies at the end of the first.
const LIVES: u64 = 2;
/// Pause between two looks at the reader's life.
const PAUSE_US: u64 = 2_000;

fn file(name: &str) -> File {
    match environment::file(name) {
        Some(file) => file,
        None => panic!("the manifest gives no file {name}"),
    }
}

fn lives() -> &'static AtomicU64 {
    match environment::shared_words("lives").and_then(|words| words.first()) {
        Some(lives) => lives,
        None => panic!("the manifest maps no lives"),
    }
}

/// Panics unless these are the bytes that the runner made.
fn check(bytes: &[u8]) {
    for (number, word) in (1_u64..).zip(bytes.chunks(8)) {
        let expected = number.wrapping_mul(STEP).to_le_bytes();
        assert!(expected.starts_with(word), "word {number} of the file is wrong");
    }
}

/// A file is for reading only, and for this process only.
fn check_rights(file: &File, space: &Cap<Space>) {
    let region = file.region();
    assert_eq!(region.rights(), Ok(Rights::READ));
    let writable = region.attach(space, file.page(), Rights::READ.with(Rights::WRITE));
    assert_eq!(writable.map_err(|failure| failure.error), Err(Error::NoRight));
    assert_eq!(region.detach().map_err(|failure| failure.error), Err(Error::NoRight));
}

/// Maps the file, checks it, and dies in its first life.
pub(crate) fn read() -> ! {
    let space = Cap::<Space>::at(u64::from(slots::SPACE));
    let data = file("data");
    check_rights(&data, &space);
    let left = match data.region().attach_step(&space, data.page(), Rights::READ) {
        Ok(Progress::More(left)) => left,
        other => panic!("the first step of attaching gave {other:?}"),
    };
    let bytes = match data.map() {
        Ok(bytes) => bytes,
        Err(failure) => panic!("attaching the rest: {failure}"),
    };
    check(bytes);
    let again = file("data").map().map_err(|failure| failure.error);
    assert_eq!(again.err(), Some(Error::Occupied), "a file is attached once");
    let life = lives().load(Ordering::Acquire);
    // Small pages up to the first large one, if the image lies so; then 2 MiB a step, or none of it would be quick.
    println!("file-reader: life {life}: {} bytes are right", bytes.len());
    println!("file-reader: {left} pages behind the first step of attaching");
    let text = file("text").map().ok().and_then(|text| core::str::from_utf8(text).ok());
    println!("file-reader: the text says: {}", text.unwrap_or("nothing").trim_end());
    lives().fetch_add(1, Ordering::AcqRel);
    if life + 1 < LIVES {
        sys::touch(0);
    }
    exit(0)
}

/// Holds the same file all the time; when the reader had all its lives, it ends the test.
pub(crate) fn hold() -> ! {
    let Some(clock) = Clock::of_process() else {
        panic!("no time page")
    };
    let bytes = match file("data").map() {
        Ok(bytes) => bytes,
        Err(failure) => panic!("attaching: {failure}"),
    };
    check(bytes);
    while lives().load(Ordering::Acquire) < LIVES {
        let _ = sys::wait(clock.deadline_in_us(PAUSE_US));
    }
    check(bytes);
    println!("file-holder: {} bytes are right, before and after", bytes.len());
    succeed()
}
