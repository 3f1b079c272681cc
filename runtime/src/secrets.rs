//! Values that do not stand in the file: taken from the environment, from a file or from systemd's credentials.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use model::config::Secret;
use model::desired::{Desired, DesiredVip};
use model::plan::Note;
use model::vrrp::Password;

/// The longest secret: any key or password is far shorter, and a device named by mistake ends here.
const SECRET_LIMIT: u64 = 4096;

/// Why a secret is not to be had. Never carries a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable {name} is not set")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's words.
        #[source]
        why: std::io::Error,
    },
    /// A credential is asked for outside of a systemd service that has any.
    #[error("there is no credential {name}: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials {
        /// Its name.
        name: String,
    },
    /// There, and empty.
    #[error("{origin} is empty")]
    Empty {
        /// The variable, the file or the credential.
        origin: String,
    },
    /// There, and not what version 2 can carry.
    #[error("the password taken from {origin} has more than 8 bytes, or none")]
    Password {
        /// The variable, the file or the credential.
        origin: String,
    },
    /// There, and no text of one line.
    #[error("{origin} does not hold a text of at most {SECRET_LIMIT} bytes")]
    NotText {
        /// The variable, the file or the credential.
        origin: String,
    },
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            SecretError::NoVariable { name } => {
                format!("set it for this command: `{name}=… hactl …`, or with Environment= in the service's unit")
            }
            SecretError::NoCredentials { name } => {
                format!("start the service from a unit with `LoadCredential={name}:/etc/hactl/{name}`")
            }
            SecretError::Password { .. } => {
                "VRRP version 2 carries 8 bytes: shorten it on every member, keepalived cuts it silently".to_owned()
            }
            SecretError::Unreadable { path, .. } => format!("make {path} readable for the user that runs hactl"),
            SecretError::Empty { origin } | SecretError::NotText { origin } => {
                format!("write the value into {origin}, on its first line")
            }
        }
    }
}

/// Reads a secret's value from where the file says it is. The first line counts, without its end.
///
/// # Errors
/// Says which variable, file or credential is missing, empty or unreadable; never what is in it.
pub fn resolve(secret: &Secret) -> Result<String, SecretError> {
    let (value, origin) = match secret {
        Secret::Literal(text) => (text.clone(), "the value in the file".to_owned()),
        Secret::Env(name) => {
            let origin = format!("the environment variable {name}");
            match std::env::var(name) {
                Ok(value) => (value, origin),
                Err(std::env::VarError::NotPresent) => return Err(SecretError::NoVariable { name: name.clone() }),
                Err(std::env::VarError::NotUnicode(_)) => return Err(SecretError::NotText { origin }),
            }
        }
        Secret::File(path) => (first_line(Path::new(path))?, path.clone()),
        Secret::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| SecretError::NoCredentials { name: name.clone() })?;
            (first_line(&PathBuf::from(folder).join(name))?, format!("the credential {name}"))
        }
    };
    match value.is_empty() {
        true => Err(SecretError::Empty { origin }),
        false => Ok(value),
    }
}

/// Reads a password of VRRP version 2.
///
/// # Errors
/// As [`resolve`], and where it does not fit.
pub fn password(secret: &Secret) -> Result<Password, SecretError> {
    let origin = || match secret {
        Secret::Literal(_) => "the file".to_owned(),
        named => format!("{named:?}"),
    };
    Password::new(&resolve(secret)?).ok_or_else(|| SecretError::Password { origin: origin() })
}

/// What a plan for this machine says of its secrets: what `hactl run` would refuse. What only the service is given (a
/// variable or a credential that is not there) may be there for the service, and blocks nothing.
pub fn notes(desired: &Desired) -> Vec<Note> {
    let note = |vip: &DesiredVip| {
        let error = password(vip.auth_pass.as_ref()?).err()?;
        Some(Note {
            blocks: !matches!(error, SecretError::NoVariable { .. } | SecretError::NoCredentials { .. }),
            what: format!("vip.{}: {error}", vip.name),
            remedy: error.help(),
            at: Some(vip.at.clone()),
        })
    };
    desired.vips.iter().filter_map(note).collect()
}

fn first_line(path: &Path) -> Result<String, SecretError> {
    let unreadable = |why| SecretError::Unreadable { path: path.display().to_string(), why };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut line = Vec::new();
    BufReader::new(file.take(SECRET_LIMIT + 1)).read_until(b'\n', &mut line).map_err(unreadable)?;
    while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        line.pop();
    }
    let not_text = || SecretError::NotText { origin: path.display().to_string() };
    if line.len() as u64 > SECRET_LIMIT {
        return Err(not_text());
    }
    String::from_utf8(line).map_err(|_| not_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "s3cret\r\nsecond\n").unwrap();
        assert_eq!(resolve(&Secret::File(path.display().to_string())).unwrap(), "s3cret");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(resolve(&Secret::File(path.display().to_string())), Err(SecretError::Empty { .. })));
    }

    #[test]
    fn an_endless_device_is_no_secret() {
        assert!(matches!(resolve(&Secret::File("/dev/zero".into())), Err(SecretError::NotText { .. })));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = Secret::Env("HACTL_TEST_NOT_SET".into());
        assert!(resolve(&missing).unwrap_err().to_string().contains("HACTL_TEST_NOT_SET"));
        assert!(resolve(&Secret::Env("PATH".into())).is_ok());
    }
}
