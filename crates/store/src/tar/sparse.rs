//! Files with holes. The archive holds only the data between the holes, and a map that says where it belongs. Sources:
//! GNU tar manual, "Sparse Formats" (old GNU; pax 0.0, 0.1 and 1.0) and "Basic Tar Format".

use super::header::{self, Block};
use super::{BLOCK_BYTES, Fault};

/// A piece of a file's data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it begins.
    pub offset: u64,
    /// Bytes of it.
    pub length: u64,
}

/// Most extents of one file, of 16 bytes each in memory.
pub const EXTENTS_MAX: usize = 1 << 18;

/// Checks that `extents` follow one another within a file of `size` bytes and hold `archived` bytes together.
pub fn check(extents: &[Extent], size: u64, archived: u64) -> Result<(), Fault> {
    let (mut end, mut sum) = (0u64, 0u64);
    for Extent { offset, length } in extents {
        if *offset < end {
            return Err(Fault::Sparse("its pieces overlap or are not in order"));
        }
        end = offset.checked_add(*length).ok_or(Fault::Number("sparse map"))?;
        sum += length;
    }
    if end > size {
        return Err(Fault::Sparse("a piece lies behind the file's end"));
    }
    if sum != archived {
        return Err(Fault::Sparse("its pieces are not as long together as the content"));
    }
    Ok(())
}

/// Adds an extent within the bounds of memory.
pub fn push(extents: &mut Vec<Extent>, extent: Extent) -> Result<(), Fault> {
    if extents.len() == EXTENTS_MAX {
        return Err(Fault::Sparse("it has too many pieces"));
    }
    extents.push(extent);
    Ok(())
}

/// The map in a header of type `S`, perhaps continued in the blocks that follow.
#[derive(Debug, Default)]
pub struct OldMap {
    /// Pieces so far.
    pub extents: Vec<Extent>,
    /// Whether another block of the map follows.
    pub continues: bool,
    /// Bytes of the file with its holes.
    pub size: u64,
}

impl OldMap {
    /// The part in the header.
    pub fn parse(block: &Block) -> Result<OldMap, Fault> {
        let mut map = OldMap { size: header::unsigned(&block[483..495], "realsize")?, ..OldMap::default() };
        map.take(&block[386..482])?;
        map.continues = block[482] != 0;
        Ok(map)
    }

    /// A block after the header.
    pub fn extend(&mut self, block: &Block) -> Result<(), Fault> {
        self.take(&block[..504])?;
        self.continues = block[504] != 0;
        Ok(())
    }

    fn take(&mut self, fields: &[u8]) -> Result<(), Fault> {
        for field in fields.chunks_exact(24) {
            // An unused place.
            if field[0] == 0 {
                break;
            }
            let offset = header::unsigned(&field[..12], "sparse offset")?;
            let length = header::unsigned(&field[12..], "sparse length")?;
            push(&mut self.extents, Extent { offset, length })?;
        }
        Ok(())
    }
}

/// The map at the beginning of a file's content, pax 1.0: numbers in decimal, each on a line of its own, first how many
/// extents there are, then offset and length of each; filled up to whole blocks.
#[derive(Debug, Default)]
pub struct MapText {
    /// Pieces so far.
    pub extents: Vec<Extent>,
    number: Option<u64>,
    wanted: Option<u64>,
    offset: Option<u64>,
}

impl MapText {
    /// Takes a block; says whether the map ends in it.
    pub fn take(&mut self, block: &[u8; BLOCK_BYTES]) -> Result<bool, Fault> {
        for byte in block {
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let longer = self.number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
                    self.number = Some(longer.ok_or(Fault::Number("sparse map"))?);
                }
                b'\n' => {
                    let number = self.number.take().ok_or(Fault::Number("sparse map"))?;
                    if self.line(number)? {
                        return Ok(true);
                    }
                }
                _ => return Err(Fault::Number("sparse map")),
            }
        }
        Ok(false)
    }

    fn line(&mut self, number: u64) -> Result<bool, Fault> {
        match (self.wanted, self.offset.take()) {
            (None, _) => self.wanted = Some(number),
            (Some(_), None) => self.offset = Some(number),
            (Some(_), Some(offset)) => push(&mut self.extents, Extent { offset, length: number })?,
        }
        Ok(self.offset.is_none() && self.wanted == Some(self.extents.len() as u64))
    }
}

/// What pax records say of a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The file's name, where the header has a made-up one.
    pub name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    blocks: Option<u64>,
    extents: Vec<Extent>,
    offset: Option<u64>,
}

/// Where a file's map is.
#[derive(Debug, PartialEq, Eq)]
pub enum Map {
    /// In the records (0.0, 0.1).
    Here(Vec<Extent>),
    /// At the beginning of the content (1.0).
    InContent,
}

impl Records {
    /// Takes a record `GNU.sparse.<key>`, its value as a number where it is one.
    pub fn set(&mut self, key: &[u8], value: &[u8], number: Option<u64>) -> Result<(), Fault> {
        let decimal = || number.ok_or(Fault::Number("GNU.sparse"));
        match key {
            b"name" => self.name = Some(value.to_owned()),
            b"major" => self.major = Some(decimal()?),
            b"minor" => self.minor = Some(decimal()?),
            b"size" | b"realsize" => {
                let size = decimal()?;
                if self.size.replace(size).is_some_and(|known| known != size) {
                    return Err(Fault::Ambiguous("a sparse file has two sizes"));
                }
            }
            b"numblocks" => self.blocks = Some(decimal()?),
            b"offset" if self.offset.is_none() => self.offset = Some(decimal()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(Fault::Sparse("a length has no offset"))?;
                push(&mut self.extents, Extent { offset, length: decimal()? })?;
            }
            b"map" if self.extents.is_empty() => self.extents = map_record(value)?,
            _ => return Err(Fault::Unsupported("this record of a sparse file".to_owned())),
        }
        Ok(())
    }

    /// Size of the file with its holes, and its map.
    pub fn finish(self) -> Result<(u64, Map), Fault> {
        let size = self.size.ok_or(Fault::Sparse("it has no size"))?;
        match (self.major.unwrap_or(0), self.minor.unwrap_or(0)) {
            (1, 0) if self.extents.is_empty() => Ok((size, Map::InContent)),
            (0, 0 | 1) if self.offset.is_none() && self.blocks == Some(self.extents.len() as u64) => {
                Ok((size, Map::Here(self.extents)))
            }
            (0 | 1, 0 | 1) => Err(Fault::Sparse("its map is not as its version says")),
            (major, minor) => Err(Fault::Unsupported(format!("a sparse file of version {major}.{minor}"))),
        }
    }
}

/// `OFFSET,LENGTH,OFFSET,LENGTH…`, pax 0.1.
fn map_record(value: &[u8]) -> Result<Vec<Extent>, Fault> {
    let mut extents = Vec::new();
    let mut numbers = value.split(|byte| *byte == b',').map(super::pax::decimal);
    while let Some(offset) = numbers.next() {
        let (Some(offset), Some(Some(length))) = (offset, numbers.next()) else {
            return Err(Fault::Number("GNU.sparse.map"));
        };
        push(&mut extents, Extent { offset, length })?;
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_do_not_fit_their_file_are_refused() {
        let map = |pairs: &[(u64, u64)]| -> Vec<Extent> {
            pairs.iter().map(|(offset, length)| Extent { offset: *offset, length: *length }).collect()
        };
        assert!(check(&map(&[(0, 5), (10, 5), (20, 0)]), 20, 10).is_ok());
        assert!(check(&map(&[]), 1 << 40, 0).is_ok());
        assert!(check(&map(&[(0, 5), (4, 5)]), 20, 10).is_err());
        assert!(check(&map(&[(10, 5), (0, 5)]), 20, 10).is_err());
        assert!(check(&map(&[(0, 5)]), 4, 5).is_err());
        assert!(check(&map(&[(0, 5)]), 20, 6).is_err());
        assert!(check(&map(&[(u64::MAX, 2)]), u64::MAX, 2).is_err());
    }

    #[test]
    fn a_map_in_the_content_may_end_anywhere() {
        let mut block = [0u8; BLOCK_BYTES];
        block[..10].copy_from_slice(b"1\n512\n100\n");
        let mut map = MapText::default();
        assert!(map.take(&block).unwrap());
        assert_eq!(map.extents, [Extent { offset: 512, length: 100 }]);
        block[..10].copy_from_slice(b"0\n\0\0\0\0\0\0\0\0");
        assert!(MapText::default().take(&block).unwrap());
        block[..10].copy_from_slice(b"1\n5 12\n100");
        assert!(MapText::default().take(&block).is_err());
        let mut long = MapText::default();
        assert!(!long.take(&[b'0'; BLOCK_BYTES]).unwrap());
        block[..10].copy_from_slice(b"2\n1\n1\n3\n1\n");
        assert!(long.take(&block).unwrap());
        assert_eq!(long.extents.len(), 2);
    }
}
