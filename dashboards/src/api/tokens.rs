//! Who may do what: tokens with roles, from a file that holds no token.
//!
//! A line of the file is a name, the roles and a digest: `ann read,operate,promote sha256:3f…`; what follows a `#` is a
//! comment. A token is 32 random bytes, so a plain SHA-256 is enough: there is nothing to be guessed that a slow hash would
//! protect. What a request shows is hashed and compared with every line in constant time, so that the time of an answer tells
//! neither which name nor how much of a token was right.
//!
//! A role brings no other one. Tokens are never logged, and not kept once they have been hashed.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To look at everything.
    Read,
    /// To send events, labels and feedback.
    WriteEvents,
    /// To ask for trainings, also by alerts.
    Operate,
    /// To promote past the gate, roll back and release.
    Promote,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Read, Self::WriteEvents, Self::Operate, Self::Promote];

    /// The name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::WriteEvents => "write_events",
            Self::Operate => "operate",
            Self::Promote => "promote",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is not a role: it is one of {known}")
        })
    }
}

/// What someone may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every role: where there are no tokens, whoever reaches the API may do everything.
    pub(super) fn all() -> Self {
        Self(Role::ALL.into())
    }

    /// No role.
    pub(super) fn none() -> Self {
        Self(BTreeSet::new())
    }

    pub(super) fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.iter().map(|role| role.name()).collect::<Vec<_>>().join(","))
    }
}

/// Why a file of tokens cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("the tokens in {file} cannot be read: {source}; `driftline token NAME --role ROLE` prints a line for it")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line that is none of a token.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none.
    #[error("{file} names no token: `driftline token NAME --role ROLE` prints a line for it")]
    Empty {
        /// The file.
        file: PathBuf,
    },
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The token itself, to be given to its bearer and kept nowhere else.
    pub secret: String,
    /// The line for the file.
    pub line: String,
}

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What tokens begin with, so that programs that look for leaked ones find them.
const PREFIX: &str = "driftline_";
/// Longer ones are nobody's, and are not hashed.
const LONGEST: usize = 256;

impl NewToken {
    /// Makes a token of random bytes.
    ///
    /// # Errors
    /// When the name cannot stand in the file, or there is no role.
    pub fn make(name: &str, roles: &[Role], random: [u8; 32]) -> Result<Self, String> {
        check_name(name)?;
        if roles.is_empty() {
            return Err("a token without a role allows nothing: give one".to_owned());
        }
        let secret = format!("{PREFIX}{}", hex(&random));
        let roles = Roles(roles.iter().copied().collect());
        let line = format!("{name} {roles} sha256:{}", hex(&digest_of(&secret)));
        Ok(Self { secret, line })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.' | '@');
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!("`{name}` cannot be a token's name: use 1 to 64 letters, digits, `-`, `_`, `.` and `@`"))
}

fn digest_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A line of the file.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) name: Arc<str>,
    pub(super) roles: Roles,
    digest: [u8; 32],
}

impl Token {
    fn of_line(line: &str) -> Result<Self, String> {
        let mut parts = line.split_whitespace();
        let (Some(name), Some(roles), Some(digest), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("a line has a name, roles and a digest, as `driftline token` prints it".to_owned());
        };
        check_name(name)?;
        let digest = digest.strip_prefix("sha256:").and_then(bytes_of).ok_or_else(|| {
            "the digest is not `sha256:` and 64 hexadecimal digits; a token itself never stands here".to_owned()
        })?;
        Ok(Self { name: name.into(), roles: roles.parse()?, digest })
    }
}

/// The tokens of a file, as it was read last.
pub struct Tokens {
    file: PathBuf,
    read: RwLock<Read>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").field("file", &self.file).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Read {
    tokens: Arc<[Token]>,
    changed: Option<SystemTime>,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds anything else than tokens.
    pub fn load(file: &Path) -> Result<Self, TokenError> {
        let read = RwLock::new(read(file)?);
        Ok(Self { file: file.to_owned(), read })
    }

    /// Follows the file until the service closes.
    pub(super) async fn follow(self: Arc<Self>, closing: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                _ = look.tick() => self.refresh(),
            }
        }
    }

    /// Reads the file again where it has changed: a token that was taken out of it is worth nothing from then on. A file that
    /// cannot be used leaves what was read before.
    fn refresh(&self) {
        let now = changed(&self.file);
        if now == self.read.read().unwrap_or_else(PoisonError::into_inner).changed {
            return;
        }
        match read(&self.file) {
            Ok(found) => {
                tracing::info!(file = %self.file.display(), tokens = found.tokens.len(), "the tokens were read again");
                *self.read.write().unwrap_or_else(PoisonError::into_inner) = found;
            }
            Err(error) => {
                tracing::error!(%error, "the tokens have changed and cannot be read: those known before go on");
                self.read.write().unwrap_or_else(PoisonError::into_inner).changed = now;
            }
        }
    }

    /// The token that this is, if it is one. Takes the same time for all.
    pub(super) fn find(&self, secret: &str) -> Option<Token> {
        if secret.len() > LONGEST {
            return None;
        }
        let shown = digest_of(secret);
        let tokens = Arc::clone(&self.read.read().unwrap_or_else(PoisonError::into_inner).tokens);
        let (mut place, mut is_found) = (0_u64, Choice::from(0));
        for (number, token) in (0_u64..).zip(tokens.iter()) {
            let is_this = token.digest.as_slice().ct_eq(shown.as_slice());
            place.conditional_assign(&number, is_this);
            is_found |= is_this;
        }
        let place = usize::try_from(place).ok()?;
        if bool::from(is_found) { tokens.get(place).cloned() } else { None }
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

fn read(file: &Path) -> Result<Read, TokenError> {
    let changed = changed(file);
    let text =
        std::fs::read_to_string(file).map_err(|source| TokenError::Unreadable { file: file.to_owned(), source })?;
    let mut tokens = Vec::new();
    let mut names = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let refuse = |reason| TokenError::Line { file: file.to_owned(), line: number, reason };
        let token = Token::of_line(line).map_err(refuse)?;
        if !names.insert(Arc::clone(&token.name)) {
            return Err(refuse(format!(
                "the name `{}` stands there twice: give each token one of its own",
                token.name
            )));
        }
        tokens.push(token);
    }
    if tokens.is_empty() {
        return Err(TokenError::Empty { file: file.to_owned() });
    }
    Ok(Read { tokens: tokens.into(), changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(text: &str, name: &str) -> PathBuf {
        let file = std::env::temp_dir().join(format!("driftline-tokens-{}-{name}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn a_token_is_known_by_what_the_file_holds_of_it() {
        let made = NewToken::make("ann", &[Role::Promote, Role::Read], [7; 32]).unwrap();
        assert!(made.line.starts_with("ann read,promote sha256:"), "{}", made.line);
        assert!(!made.line.contains(made.secret.trim_start_matches(PREFIX)), "the file holds no token");
        let other = NewToken::make("bot", &[Role::WriteEvents], [8; 32]).unwrap();
        let file = file_of(&format!("# people\n{}  # until June\n\n{}\n", made.line, other.line), "known");
        let tokens = Tokens::load(&file).unwrap();
        let found = tokens.find(&made.secret).unwrap();
        assert_eq!((found.name.as_ref(), found.roles.to_string()), ("ann", "read,promote".to_owned()));
        assert_eq!(tokens.find(&other.secret).unwrap().name.as_ref(), "bot");
        let digest = made.line.rsplit(':').next().unwrap();
        for wrong in ["", "driftline_", &made.secret[..40], &made.secret.to_uppercase(), digest, &"x".repeat(100_000)] {
            assert!(tokens.find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_is_taken_out_is_worth_nothing() {
        let [ann, bot] = [("ann", [1; 32]), ("bot", [2; 32])]
            .map(|(name, random)| NewToken::make(name, &[Role::Read], random).unwrap());
        let file = file_of(&format!("{}\n{}\n", ann.line, bot.line), "changed");
        let tokens = Tokens::load(&file).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::write(&file, &bot.line).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        tokens.refresh();
        assert!(tokens.find(&ann.secret).is_none() && tokens.find(&bot.secret).is_some());
        std::fs::write(&file, "nonsense").unwrap();
        tokens.refresh();
        assert!(tokens.find(&bot.secret).is_some(), "a file that cannot be used locks nobody out");
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_line() {
        let line = NewToken::make("ann", &[Role::Read], [1; 32]).unwrap().line;
        let cases = [
            (String::new(), "names no token"),
            (format!("\n{line} x"), ":2: a line has a name, roles and a digest"),
            (line.replace("read", "root"), "`root` is not a role: it is one of read, write_events, operate, promote"),
            (line.replace("sha256:", "sha256:z"), "a token itself never stands here"),
            (line.replace("ann", "a/b"), "cannot be a token's name"),
            (format!("{line}\n{line}"), "stands there twice"),
        ];
        for (number, (text, says)) in (0..).zip(cases) {
            let error = Tokens::load(&file_of(&text, &format!("wrong-{number}"))).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(Tokens::load(Path::new("/nowhere/tokens")).err().unwrap().to_string().contains("driftline token"));
        assert!(NewToken::make("ann", &[], [1; 32]).is_err());
    }
}
