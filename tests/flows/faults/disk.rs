//! A disk that is full: the archive stands still and says so, the rest goes on, and nothing is lost.

use super::house::House;
use driftline_tests::{On, Running};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const ROWS: usize = 900;
const PARTITIONS: u32 = 2;
/// The size of the disk.
const SIZE: &str = "size=8m";

/// A small file system of its own in driftline's directory; its end is the end of this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` (told) where this process may not mount.
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "driftline-test"]).arg(folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder.to_owned())),
            other => {
                eprintln!("SKIPPED: a small disk cannot be mounted here: {other:?}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let mut most = 1 << 20;
        while most > 0 {
            match filler.write(&vec![1; most]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => most /= 2,
                Err(error) => panic!("filling the disk: {error}"),
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    /// Files that were begun and never finished.
    fn unfinished(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.0.clone()];
        let mut unfinished = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.extension().is_some_and(|it| it == "partial") => unfinished.push(path),
                    false => {}
                }
            }
        }
        unfinished
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is still open there does not keep it: it goes with the last one that looks at it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_stops_the_archive_until_there_is_room_and_loses_nothing() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, PARTITIONS);
    let Some(disk) = SmallDisk::mount(&house.place.path().join("driftline-data")) else { return };
    let mut service = house.start();
    house.send(ROWS);
    house.until_captured(&mut service, Instant::now());
    disk.fill();
    house.send(ROWS);
    // Capture needs no disk: what is counted is counted.
    house.until_captured(&mut service, Instant::now());
    let said = service.until("it says that it is full", is_full).unwrap();
    assert!(said.contains("archive/") && said.contains("free some space"), "{said}");
    let held = house.archived();
    house.send(ROWS);
    house.until_captured(&mut service, Instant::now());
    assert_eq!(house.archived(), held, "nothing is passed over while the disk is full");
    disk.make_room();
    let fault = Instant::now();
    let goes_on = |_: &Running| {
        let archived = house.archived();
        Ok(archived.iter().zip(&held).all(|(archived, held)| archived > held).then_some(()))
    };
    service.until("the archive goes on", goes_on).unwrap();
    let recovery = fault.elapsed();
    let is_ready = |service: &Running| Ok((service.get("/readyz")?.status == 200).then_some(()));
    service.until("it is ready again", is_ready).unwrap();
    assert_eq!(disk.unfinished(), [] as [PathBuf; 0], "what could not be written is gone");
    let house = house.finish(vec![service], ("disk full", 1), recovery);
    assert!(house.archived().iter().zip(&held).all(|(archived, held)| archived > held));
    // The folder around it goes when nothing is mounted there any more.
    drop(disk);
}

/// What it says of a stage that has no room.
fn is_full(service: &Running) -> anyhow::Result<Option<String>> {
    let answer = service.get("/readyz")?;
    let said = answer.body.to_string();
    Ok((answer.status == 503 && said.contains("no space left")).then_some(said))
}
