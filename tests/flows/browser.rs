//! The console in a real browser, at the end of the demo.

use driftline_tests::{On, Workplace};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What says which browser, and where the script's packages are.
const BROWSER: &str = "DRIFTLINE_TEST_BROWSER";
const PACKAGES: &str = "NODE_PATH";

#[test]
fn the_console_is_accessible_quiet_and_three_clicks_deep() {
    let Ok(browser) = std::env::var(BROWSER) else {
        let required = std::env::var("DRIFTLINE_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
        assert!(!required, "{BROWSER} must name a Chromium, and {PACKAGES} the packages of tests/browser/package.json");
        println!("skipped: {BROWSER} names no Chromium");
        return;
    };
    let place = Workplace::new(crate::BINARY, "", On::Embedded).unwrap();
    let (demo, address) = Demo::at_its_end(&place);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/console.cjs");
    let shots = std::env::var_os("DRIFTLINE_SCREENSHOTS").map_or_else(|| place.path().join("shots"), PathBuf::from);
    let read = Command::new("node").arg(script).args([&address, &browser]).arg(&shots).output().unwrap();
    drop(demo);
    let said = String::from_utf8_lossy(&read.stdout).into_owned() + &String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{said}");
}

/// A demo that is over and stays up; killed when it is dropped.
struct Demo(Child);

impl Demo {
    fn at_its_end(place: &Workplace) -> (Self, String) {
        let mut command = place.command(&["demo", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap());
        let demo = Self(process);
        for line in said.lines() {
            let line = line.unwrap();
            // The address is said at the beginning too.
            let is_over = line.contains("Ctrl-C ends the demo");
            if let Some((_, rest)) = line.split_once("Metrics at ").filter(|_| is_over) {
                let (address, _) = rest.split_once("/metrics").unwrap();
                return (demo, address.to_owned());
            }
        }
        panic!("the demo ended");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
