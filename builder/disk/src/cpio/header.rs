//! The header of a file in an archive.

/// What differs between files: all belong to root and lie on device 0:0.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) inode: u32,
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) time: u32,
    pub(super) length: u32,
    pub(super) device: [u32; 2],
}

impl Header {
    /// The header of a file whose name has so many bytes, with its NUL.
    pub(super) fn text(&self, name: usize) -> String {
        let Self { inode, mode, links, time, length, device: [major, minor] } = self;
        let root = 0;
        let device_and_sum = 0;
        format!(
            "070701{inode:08X}{mode:08X}{root:08X}{root:08X}{links:08X}{time:08X}{length:08X}\
             {device_and_sum:016X}{major:08X}{minor:08X}{name:08X}{device_and_sum:08X}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_the_order_of_the_format() {
        let header =
            Header { inode: 1, mode: 0o020_600, links: 3, time: 4, length: 5, device: [6, 7] };
        let text = header.text(8);
        assert_eq!(text.len(), 110);
        let (magic, numbers) = text.split_at(6);
        let numbers: Vec<u32> = numbers
            .as_bytes()
            .chunks(8)
            .map(|digits| u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(magic, "070701");
        assert_eq!(numbers, [1, 0o020_600, 0, 0, 3, 4, 5, 0, 0, 6, 7, 8, 0]);
    }
}
