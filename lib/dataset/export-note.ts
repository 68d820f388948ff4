/** The README of an exported tree. */
export const EXPORT_NOTE = `What this directory holds

survey/<participant>/<session>/activity_<n>.jsonld   answers, one file for each activity; activities without an answer are left out
audio/<participant>/<session>/<item>-<uuid>.wav      recordings, as they were sent
archives/<session>.zip                               what the web app sent at the end of a session, joined, byte for byte;
archives/<session>-<uuid>-activity<N>.zip            and what it sent after each activity
messages/<participant>/                              JSON submissions, byte for byte
responses.csv      one row for each answer; file and sha256 are the recording where the value names one, else the activity
recordings.csv     one row for each recording, with what its WAV header says
sessions.csv       one row for each session: complete, or what is missing; claims about the participant that contradict each other
messages.csv       one row for each JSON submission: whose it is, and where; note says what is in doubt
incomplete/        uploads with missing slices, and what cannot be read or trusted, in sessions/<session>/; reasons.csv says why;
                   changed/ has other files that are not what their receipts promised;
                   files that end with .age are as they were stored, encrypted, since no identity that was given opens them
unassigned/        what nobody is known for: no token, file name or answer says whose it is; in files/ what has no name
                   of an upload; reasons.csv says why
SHA256SUMS         for: sha256sum -c SHA256SUMS
.export.json       what was taken, so that an interrupted export can be completed with --resume

Sessions that are incomplete are in survey/ and audio/ as far as they arrived: look at the column state of sessions.csv.

CSV files are UTF-8 with CRLF (RFC 4180). A cell that a spreadsheet would run as a formula has an apostrophe in front, and so
has a cell that begins with one: take one apostrophe off the front of each such cell, and it is as it was given.

The CSV files have the names of participants, sessions and items as they were given. As names of directories and files they
are made safe, at most 120 bytes long, and different to disks that do not tell capitals apart: a name that had to be changed
has the first 16 digits of its SHA-256.

For the converters: reproschema output2redcap reads survey/; b2aiprep reproschema-to-redcap reads audio/ and survey/.
`
