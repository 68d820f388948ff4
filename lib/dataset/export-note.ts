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
incomplete/        uploads with missing slices, archives that cannot be trusted, files that fit nowhere; reasons.csv says why
unassigned/        what nobody is known for: no token, file name or answer says whose it is; reasons.csv names it
SHA256SUMS         for: sha256sum -c SHA256SUMS
.export.json       what was taken, so that an interrupted export can be completed with --resume

Sessions that are incomplete are in survey/ and audio/ as far as they arrived: look at the column state of sessions.csv.

CSV files are UTF-8 with CRLF (RFC 4180). A cell that a spreadsheet would run as a formula has an apostrophe in front: take
one off where an exact value matters, or read survey/. The names of directories and files are made safe; a name that had to
be changed has 8 digits of its SHA-256, and the CSV files have it as it was given.

For the converters: reproschema output2redcap reads survey/; b2aiprep reproschema-to-redcap reads audio/ and survey/.
`
