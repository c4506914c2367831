//! grub.cfg for an image with two slots.
//!
//! The script is [`coremax_node_api::slot::choose`] in GRUB's language, over the blocks that
//! [`coremax_node_api::slot::grub`] describes; the language has neither numbers nor `case`, so 3
//! becomes 2 by comparison. It reads named variables out of the blocks and nothing else, so that no
//! content of theirs can do more than choose among the slots. Commands it needs: `load_env` and
//! `save_env`, `test`, `echo`, `linux`, `boot`, `chainloader`, `sleep` and `reboot`; Debian's and Ubuntu's signed images have them
//! built in.

use coremax_node_api::{
    env,
    slot::{
        FOLDER, INITRD, KERNEL, PARAMETER, Slot, State, TRIES,
        grub::{BLESSED, BLESSED_COPY, Blocks, Description, SLOT, TRIAL},
    },
};

use super::{
    EFI_LOADER,
    config::{MARKER, Serial},
};
use crate::fat::{Content, File};

/// What the configuration of an image with slots depends on. It stays when a slot is updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Seconds until the chosen slot is started; 0 shows no menu.
    pub timeout: u32,
    /// The kernel's arguments, for the serial console that they name.
    pub command_line: Vec<String>,
}

/// Renders grub.cfg, for BIOS and UEFI alike.
///
/// It counts a boot on trial before it begins it, and reads the count again: what could not be
/// counted is not tried, or it would be tried for ever. Before a kernel is loaded it prints
/// [`MARKER`] and the slot's title; a slot that cannot be loaded gives way to the other one.
pub fn render(config: &Config) -> String {
    let serial = Serial::of(&config.command_line).map(Serial::render).unwrap_or_default();
    format!("set default=0\nset timeout={}\n{serial}{}{}", config.timeout, choice(), menu())
}

/// The files of the ESP that hold `state`.
pub fn state_files(state: &State) -> Vec<File> {
    let Blocks { blessed, copy, trial } = Blocks::of(state);
    [(BLESSED, blessed), (BLESSED_COPY, copy), (TRIAL, trial)]
        .map(|(name, block)| File::bytes(format!("{FOLDER}/{name}"), block))
        .into()
}

/// The files of the ESP that make up `slot`.
///
/// # Errors
/// A description that GRUB cannot hand on.
pub fn slot_files(
    slot: Slot,
    description: &Description,
    kernel: Content,
    initrd: Content,
) -> Result<Vec<File>, env::Error> {
    let file = |name: &str, content| File { path: format!("{FOLDER}/{slot}/{name}"), content };
    let description = Content::Bytes(description.encode()?);
    Ok(vec![file(KERNEL, kernel), file(INITRD, initrd), file(SLOT, description)])
}

/// Sets `slot` to the one that is to boot and `other` to the other one.
fn choice() -> String {
    let count =
        |tries: u8| format!("if [ \"$tries\" = {tries} ]; then\n\t\tset left={}\n", tries - 1);
    let counting = (1..=TRIES).rev().map(count).collect::<Vec<_>>().join("\tel");
    format!(
        r#"set blessed=
load_env -f /{FOLDER}/{BLESSED} blessed
if [ "$blessed" != a -a "$blessed" != b ]; then
	load_env -f /{FOLDER}/{BLESSED_COPY} blessed
fi
if [ "$blessed" != a -a "$blessed" != b ]; then
	set blessed=a
fi
set slot="$blessed"
set trying=
set tries=
set left=
load_env -f /{FOLDER}/{TRIAL} trying tries
if [ "$trying" = a -o "$trying" = b ]; then
	{counting}	fi
fi
if [ -n "$left" ]; then
	set tries="$left"
	save_env -f /{FOLDER}/{TRIAL} tries
	set tries=
	load_env -f /{FOLDER}/{TRIAL} tries
	if [ "$tries" = "$left" ]; then
		set slot="$trying"
	fi
fi
if [ "$slot" = a ]; then
	set other=b
else
	set other=a
fi
"#
    )
}

/// Offers both slots, the chosen one first, each with the other behind it.
fn menu() -> String {
    // Without quotes a variable is as many words as it holds. GRUB (2.06) loses the command line of
    // a kernel that takes the place of another, so anything else has to come in between.
    format!(
        r#"function forget {{
	if [ "$grub_platform" = efi ]; then
		set loader=/{EFI_LOADER}
	else
		set loader=+1
	fi
	if chainloader "$loader"; then
		set loader=
	else
		reboot
	fi
}}
function start {{
	set title=
	set command_line=
	if [ -f "/{FOLDER}/$1/{SLOT}" ]; then
		load_env -f "/{FOLDER}/$1/{SLOT}" title command_line
		echo "{MARKER} $title"
		if linux "/{FOLDER}/$1/{KERNEL}" $command_line "{PARAMETER}=$1"; then
			if initrd "/{FOLDER}/$1/{INITRD}"; then
				boot
			fi
			forget
		fi
	fi
	echo "coremax: slot $1 cannot be loaded"
}}
function offer {{
	set title="slot $1"
	if [ -f "/{FOLDER}/$1/{SLOT}" ]; then
		load_env -f "/{FOLDER}/$1/{SLOT}" title
	fi
	menuentry "$title" "$1" "$2" {{
		start "$2"
		start "$3"
		echo "coremax: neither slot can be loaded; the machine restarts in a minute"
		sleep 60
		reboot
	}}
}}
offer "$slot" "$other"
offer "$other" "$slot"
"#
    )
}

#[cfg(test)]
mod tests {
    use coremax_sandbox::{Cmd, Sandbox};

    use super::*;

    #[test]
    fn grub_finds_no_mistake_in_the_script() {
        let command_line = vec!["console=ttyS1,9600".into()];
        let script = render(&Config { timeout: 2, command_line });
        assert!(script.starts_with("set default=0\nset timeout=2\nif [ \"$grub_platform\" = pc ]"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grub.cfg");
        std::fs::write(&path, &script).unwrap();
        match Cmd::new("grub-script-check", &Sandbox::host()).arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => coremax_skip::skip(format_args!("{error} (install grub-common)")),
        }
    }

    #[test]
    fn files_of_a_new_image() {
        let paths = |files: &[File]| files.iter().map(|f| f.path.clone()).collect::<Vec<_>>();
        assert_eq!(
            paths(&state_files(&State::NEW)),
            ["coremax/blessed.env", "coremax/blessed2.env", "coremax/trial.env"]
        );
        let description =
            Description { title: "x".into(), version: "1".into(), command_line: "quiet".into() };
        let [kernel, initrd] = [b"k", b"i"].map(|bytes| Content::Bytes(bytes.to_vec()));
        assert_eq!(
            paths(&slot_files(Slot::B, &description, kernel, initrd).unwrap()),
            ["coremax/b/vmlinuz", "coremax/b/initrd.img", "coremax/b/slot.env"]
        );
    }
}
