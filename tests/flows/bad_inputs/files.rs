//! Bad files for `driftline replay`: what it says of them, and that their good rows arrive, at once or once the file is
//! mended.

use super::requests::gzip;
use std::path::Path;

/// A bad file.
pub(super) struct BadFile {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    pub(super) content: Content,
    /// What the command line says beside the file and [`COLUMNS`].
    pub(super) more: &'static [&'static str],
    pub(super) ending: Ending,
    /// Ids of good rows that are in the log once all is done.
    pub(super) good: &'static [&'static str],
}

pub(super) enum Content {
    Nothing,
    Folder,
    Text(&'static str),
    /// Zipped, without the last bytes.
    CutGzip(&'static str),
}

pub(super) enum Ending {
    /// An exit code and a message; nothing is appended. Where there is another text, that is replayed whole afterwards.
    Refused(i32, &'static str, Option<&'static str>),
    /// The rows are appended; one becomes a dead letter, with this reason and message, which the balance tells of.
    DeadLetter(&'static str, &'static str),
}

/// The columns of the good files. Others follow them, so they end without a mark.
pub(super) const COLUMNS: [&str; 11] =
    ["--model", "loan", "--id", "id", "--time", "time", "--prediction", "p", "--score", "s", "--no-end-mark"];

/// A table of files: `name: file, content, further arguments => ending, good ids;`.
macro_rules! files {
    ($($name:literal : $file:literal, $content:expr, $more:expr => $ending:expr, $good:expr;)*) => {
        &[$(BadFile { name: $name, file: $file, content: $content, more: &$more, ending: $ending, good: &$good }),*]
    };
}

use Content::{CutGzip, Folder, Nothing, Text};
use Ending::{DeadLetter, Refused};

pub(super) const FILES: &[BadFile] = files! {
    "a file that is not there":
        "nowhere.csv", Nothing, []
        => Refused(2, "cannot read nowhere.csv (No such file or directory (os error 2)): name a file that is there and may be read", None), [];
    "a folder":
        "folder.csv", Folder, []
        => Refused(2, "folder.csv: the folder holds no file of rows: name one that does", None), [];
    "an ending that is none":
        "rows.txt", Text("id,time,amount,age,country,p,s\n"), []
        => Refused(2, "rows.txt: the name must end in .csv, .parquet, .jsonl or .ndjson, perhaps with .gz after it: rename or convert the file", None), [];
    "an empty file":
        "empty.csv", Text(""), []
        => Refused(2, "empty.csv: the file is empty: its first line must name the columns", None), [];
    "a column twice":
        "twice.csv", Text("id,id,time,amount,age,country,p,s\na,a,1700000000000,1,30,DE,yes,0.5\n"), []
        => Refused(2, "twice.csv: the header names column `id` twice: give each its own name", None), [];
    "a column that is missing":
        "missing.csv", Text("id,time,amount,country,p,s\na,1700000000000,1,DE,yes,0.5\n"), []
        => Refused(2, "missing.csv has no column `age`: its columns are `id`, `time`, `amount`, `country`, `p`, `s`", None), [];
    "a label's column that is missing":
        "label.csv", Text("id,time,amount,age,country,p,s\na,1700000000000,1,30,DE,yes,0.5\n"), ["--label", "y"]
        => Refused(2, "label.csv has no column `y`: its columns are `id`, `time`, `amount`, `age`, `country`, `p`, `s`", None), [];
    "a ragged row":
        "ragged.csv", Text("id,time,amount,age,country,p,s\nragged-a,1700000000000,1,30,DE,yes,0.5\nx,1700000000000,1,30\nragged-b,1700000000000,1,30,DE,yes,0.5\n"), []
        => Refused(2, "ragged.csv: a row at or soon after row 0 cannot be read (Csv error: incorrect number of fields for line 3, expected 7 got 4): mend the row; those before 0 were read", Some("id,time,amount,age,country,p,s\nragged-a,1700000000000,1,30,DE,yes,0.5\nragged-b,1700000000000,1,30,DE,yes,0.5\n")),
           ["ragged-a", "ragged-b"];
    "a first row whose time cannot be read":
        "first.csv", Text("id,time,amount,age,country,p,s\nx,noon,1,30,DE,yes,0.5\nfirst-a,1700000000000,1,30,DE,yes,0.5\n"), []
        => Refused(2, "first.csv row 0, column `time`: Text(\"noon\") is not a time: name another column, or write RFC 3339, or seconds or milliseconds since the epoch", Some("id,time,amount,age,country,p,s\nfirst-a,1700000000000,1,30,DE,yes,0.5\n")),
           ["first-a"];
    "a later row whose time cannot be read":
        "later.csv", Text("id,time,amount,age,country,p,s\nlater-a,1700000000000,1,30,DE,yes,0.5\nx,noon,1,30,DE,yes,0.5\nlater-b,1700000000000,1,30,DE,yes,0.5\n"), []
        => DeadLetter("wrong_type_time", "text is not RFC 3339 in `time` at byte 145: send milliseconds since the epoch as an integer, or RFC 3339 text"), ["later-a", "later-b"];
    "a row without an id":
        "id.csv", Text("id,time,amount,age,country,p,s\nid-a,1700000000000,1,30,DE,yes,0.5\n,1700000000000,1,30,DE,yes,0.5\n"), []
        => Refused(2, "id.csv row 1, column `id`: Null is not an id: every row needs one; without --id the row's number serves", Some("id,time,amount,age,country,p,s\nid-a,1700000000000,1,30,DE,yes,0.5\nid-b,1700000000000,1,30,DE,yes,0.5\n")),
           ["id-a", "id-b"];
    "a Parquet file that is none":
        "rows.parquet", Text("PAR1 and no more"), []
        => Refused(2, "rows.parquet: not a complete Parquet file (Parquet error: Invalid Parquet file. Corrupt footer): write it again", None), [];
    "gzip that ends early in a file":
        "cut.csv.gz", CutGzip("id,time,amount,age,country,p,s\nx,1700000000000,1,30,DE,yes,0.5\n"), []
        => Refused(2, "cut.csv.gz: a row at or soon after row 0 cannot be read (Io error: incomplete deflate stream): mend the row; those before 0 were read", None), [];
    "JSON lines that are none":
        "rows.jsonl", Text("{\"id\": \"x\", \"time\": 1700000000000}\nhello\n"), []
        => Refused(2, "rows.jsonl: not JSON objects, with one kind of value a key (Json error: Not valid JSON: expected value at line 1 column 1)", None), [];
    "scores of classes for a model with one":
        "scores.csv", Text("id,time,amount,age,country,p,s\nx,1700000000000,1,30,DE,yes,0.5\n"), ["--score", "yes=s"]
        => Refused(2, "`s` has no class, and is not the only score column: write each as CLASS=COLUMN", None), [];
};

impl Content {
    pub(super) fn write(&self, file: &Path) {
        match self {
            Nothing => {}
            Folder => std::fs::create_dir(file).unwrap(),
            Text(text) => std::fs::write(file, text).unwrap(),
            CutGzip(text) => {
                let mut packed = gzip(text.as_bytes());
                packed.truncate(packed.len() - 12);
                std::fs::write(file, packed).unwrap();
            }
        }
    }
}
