//! Bytes as a list of numbers, which is what `JSON.stringify` makes of `Array.from(bytes)`.

use std::io::{self, BufReader, Bytes, Read};

/// Reads the bytes up to the end of the list.
pub(super) struct Numbers<R> {
    source: Bytes<BufReader<R>>,
    is_over: bool,
}

impl<R: Read> Numbers<R> {
    /// Begins behind the bracket that opens the list.
    pub(super) fn new(source: R) -> Self {
        Self { source: BufReader::new(source).bytes(), is_over: false }
    }

    /// The next number. `None` at the end of the list.
    fn next_number(&mut self) -> io::Result<Option<u8>> {
        let mut number = None;
        loop {
            match self.source.next().transpose()? {
                Some(digit @ b'0'..=b'9') => {
                    let tens: u16 = u16::from(number.unwrap_or(0)) * 10 + u16::from(digit - b'0');
                    number = Some(u8::try_from(tens).map_err(|_| invalid("a list of bytes has a number above 255"))?);
                }
                Some(b' ' | b'\n' | b'\r' | b'\t') => {}
                Some(b',') if number.is_some() => return Ok(number),
                Some(b']') => {
                    self.is_over = true;
                    return Ok(number);
                }
                Some(_) => return Err(invalid("a list of bytes holds something else")),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a list of bytes has no end")),
            }
        }
    }
}

impl<R: Read> Read for Numbers<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        for (filled, place) in out.iter_mut().enumerate() {
            if self.is_over {
                return Ok(filled);
            }
            match self.next_number() {
                Ok(Some(number)) => *place = number,
                Ok(None) => return Ok(filled),
                Err(error) => {
                    self.is_over = true;
                    return Err(error);
                }
            }
        }
        Ok(out.len())
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
