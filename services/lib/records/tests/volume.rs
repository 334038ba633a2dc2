//! Volumes without cuts: what fits, what does not, what is damaged, and the log.

mod support;

use ecusson_records::{Error, MAX_NAME_BYTES, MAX_VALUE_BYTES, MIN_SECTORS, Volume};
use support::{Journal, Memory, SECTORS};

fn fresh() -> Volume<Memory> {
    Volume::format(Memory::new(SECTORS)).unwrap()
}

#[test]
fn values_are_there_after_opening_again() {
    let mut volume = fresh();
    volume.put("config/web01", b"name = \"web01\"\n").unwrap();
    volume.put("config/db01", b"x").unwrap();
    volume.put("autostart", b"web01\n").unwrap();
    volume.put("config/db01", &[7; 1000]).unwrap();
    volume.delete("autostart").unwrap();
    volume.delete("never").unwrap();
    let volume = Volume::open(volume.into_disk()).unwrap();
    assert_eq!(
        volume.names("config/").collect::<Vec<_>>(),
        ["config/db01", "config/web01"]
    );
    assert_eq!(volume.get("config/db01"), Some(&[7; 1000][..]));
    assert_eq!(volume.get("autostart"), None);
}

#[test]
fn a_thousand_changes_fit_where_one_value_does() {
    let mut volume = fresh();
    for turn in 0..1000_u32 {
        volume.put("a", &turn.to_le_bytes()).unwrap();
    }
    let volume = Volume::open(volume.into_disk()).unwrap();
    assert_eq!(volume.get("a"), Some(&999_u32.to_le_bytes()[..]));
}

#[test]
fn a_full_volume_says_so_keeps_all_and_can_delete() {
    let mut volume = fresh();
    let mut stored = 0;
    let error = loop {
        match volume.put(&format!("n{stored}"), &[1; 100]) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    // 12 sectors: nine values, two commit frames, one for deleting.
    assert_eq!(
        (stored, error),
        (
            9,
            Error::Full {
                needed: 13,
                capacity: 12
            }
        )
    );
    assert_eq!(
        error.to_string(),
        "the volume is full: 13 sectors would be needed, there are 12: delete records"
    );
    let mut volume = Volume::open(volume.into_disk()).unwrap();
    assert_eq!(volume.names("").count(), 9);
    for turn in 0..9 {
        volume.put("n0", &[turn; 200]).unwrap();
    }
    volume.delete("n3").unwrap();
    volume.put("other", b"x").unwrap();
    assert_eq!(volume.names("").count(), 9);
}

#[test]
fn what_is_too_long_is_refused() {
    let mut volume = fresh();
    assert_eq!(volume.put("", b""), Err(Error::Length));
    assert_eq!(volume.put(&"n".repeat(MAX_NAME_BYTES + 1), b""), Err(Error::Length));
    assert_eq!(volume.put("n", &vec![0; MAX_VALUE_BYTES + 1]), Err(Error::Length));
}

#[test]
fn disks_without_a_volume_are_told_apart() {
    assert_eq!(Volume::open(Memory::new(SECTORS)).unwrap_err(), Error::NotFormatted);
    assert_eq!(
        Volume::format(Memory::new(15)).unwrap_err(),
        Error::TooSmall { needed: MIN_SECTORS }
    );
    let mut noise = Memory::new(SECTORS);
    for (index, sector) in noise.sectors.iter_mut().enumerate() {
        sector.fill(index as u8);
    }
    assert_eq!(Volume::open(noise).unwrap_err(), Error::NotFormatted);
}

#[test]
fn a_new_format_hides_what_was_there() {
    let mut volume = fresh();
    for turn in 0..30_u8 {
        volume.put("a", &[turn]).unwrap();
    }
    let volume = Volume::format(volume.into_disk()).unwrap();
    let volume = Volume::open(volume.into_disk()).unwrap();
    assert_eq!(volume.names("").count(), 0);
}

#[test]
fn a_garbled_sector_is_found_or_does_not_matter() {
    for changes in 1..25_u8 {
        let mut volume = fresh();
        let mut states = Vec::new();
        for turn in 0..changes {
            volume.put(&format!("n{}", turn % 3), &[turn; 10]).unwrap();
            states.push(state(&volume));
        }
        let disk = volume.into_disk();
        let now = states.pop().unwrap();
        for sector in 0..SECTORS as usize {
            let mut garbled = disk.clone();
            garbled.sectors[sector][100] ^= 1;
            match Volume::open(garbled.clone()) {
                // A garbled last change looks like one that a cut has torn.
                Ok(volume) => assert!(
                    state(&volume) == now || Some(state(&volume)) == states.last().cloned() || states.is_empty()
                ),
                Err(error) => {
                    assert_eq!(error, Error::Corrupt { sector: sector as u64 });
                    let (volume, salvaged) = Volume::salvage(garbled).unwrap();
                    assert_eq!(salvaged.unwrap().sector, sector as u64);
                    let whole = Volume::open(volume.into_disk()).unwrap();
                    let names: Vec<String> = whole.names("").map(ToString::to_string).collect();
                    assert!(names.len() + 1 >= now.len(), "at most one value is lost: {names:?}");
                }
            }
        }
    }
}

fn state<D: ecusson_records::Sectors>(volume: &Volume<D>) -> Vec<(String, Vec<u8>)> {
    volume
        .names("")
        .map(|name| (name.to_string(), volume.get(name).unwrap().to_vec()))
        .collect()
}

#[test]
fn a_disk_that_fails_is_said_and_leaves_the_old_or_the_new() {
    for fails_at in 0..60 {
        let disk = fresh().into_disk();
        let mut journal = Journal::on(disk);
        journal.fails_at = fails_at;
        let mut volume = Volume::open(journal).unwrap();
        let mut last = None;
        let failed = (0..30_u8).find(|turn| match volume.put("a", &[*turn]) {
            Ok(()) => {
                last = Some(*turn);
                false
            }
            Err(error) => {
                assert_eq!(error, Error::Device);
                true
            }
        });
        let Some(failed) = failed else { continue };
        assert_eq!(volume.put("b", b""), Err(Error::Unclear));
        let volume = Volume::open(volume.into_disk().now()).unwrap();
        let found = volume.get("a").map(|value| value[0]);
        assert!(found == last || found == Some(failed), "{found:?} after {last:?}");
    }
}

#[test]
fn the_log_keeps_its_latest_lines() {
    let mut volume = fresh();
    for turn in 0..500 {
        volume.log(&format!("line {turn}")).unwrap();
    }
    assert!(volume.log_text().ends_with("line 498\nline 499\n"));
    volume.sync_log().unwrap();
    let mut volume = Volume::open(volume.into_disk()).unwrap();
    let text = volume.log_text();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert!(lines.len() > 250, "{} lines", lines.len());
    for (turn, line) in (0..500).rev().zip(lines.iter().rev()) {
        assert_eq!(*line, format!("line {turn}"));
    }
    volume.log(&"long ".repeat(1000)).unwrap();
    volume.log("after").unwrap();
    assert!(volume.log_text().ends_with("long \nafter\n"));
}

#[test]
fn a_garbled_sector_of_the_log_loses_only_its_lines() {
    let mut volume = fresh();
    for turn in 0..5 {
        volume.log(&format!("line {turn}")).unwrap();
        volume.sync_log().unwrap();
    }
    let mut disk = volume.into_disk();
    disk.sectors[26][40] ^= 0xff;
    assert_eq!(
        Volume::open(disk).unwrap().log_text(),
        "line 0\nline 1\nline 3\nline 4\n"
    );
}
