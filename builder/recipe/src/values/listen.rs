//! A port that something must listen on: `tcp/22`.

use std::{fmt, num::NonZeroU16, str::FromStr};

use super::{BadValue, TextValue, text_value};

/// Transport protocol of a [`Listen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A TCP socket in the listening state.
    Tcp,
    /// A bound UDP socket.
    Udp,
}

/// A port and its protocol. Displays as `tcp/22`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number, never 0.
    pub port: NonZeroU16,
}

impl TextValue for Listen {
    const KIND: &'static str = "a listening port";
    const PATTERN: &'static str = "(tcp|udp)/[1-9][0-9]{0,4}";
}

impl FromStr for Listen {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refuse = || BadValue::new(text, Self::KIND, "write tcp/PORT or udp/PORT, 1 to 65535");
        let (protocol, port) = text.split_once('/').ok_or_else(refuse)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(refuse()),
        };
        if !port.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(refuse());
        }
        Ok(Self { protocol, port: port.parse().map_err(|_| refuse())? })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

text_value!(Listen);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_and_back() {
        for good in ["tcp/22", "udp/1", "tcp/65535"] {
            assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
        }
        for bad in ["22", "tcp", "tcp/", "tcp/0", "tcp/022", "tcp/+22", "tcp/65536", "sctp/22"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_port_is_a_text(port in 1_u16.., protocol in "tcp|udp") {
            let text = format!("{protocol}/{port}");
            prop_assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,20}") {
            drop(text.parse::<Listen>());
        }
    }
}
