//! The program, which is all in the library: that one is compiled while the services' own code is still
//! being made, as a program's cannot be.

use std::process::ExitCode;

fn main() -> ExitCode {
    mp3converter::main()
}
