"""Reads an exported tree as others would: csv, wave, zipfile, and what the two converters rely on."""
import csv, json, pathlib, sys, wave, zipfile

out = pathlib.Path(sys.argv[1])
csv.field_size_limit(2**28)


def table(name):
    path = out / name
    if not path.exists():
        return []
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file, strict=True))


recordings = table('recordings.csv')
for row in recordings:
    with wave.open(str(out / row['file'])) as file:
        assert abs(file.getnframes() / file.getframerate() - float(row['duration_seconds'])) < 1e-6, row
        assert file.getframerate() == int(row['sample_rate']) and file.getnchannels() == int(row['channels']), row
for path in out.glob('archives/*.zip'):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, path

# reproschema output2redcap: one folder a participant, JSON alone; b2aiprep: participant, session, *.jsonld.
surveys = {}
for participant in sorted((out / 'survey').iterdir()) if (out / 'survey').exists() else []:
    assert participant.name.split()[0] == participant.name
    for session in sorted(participant.iterdir()):
        for path in sorted(session.glob('*')):
            assert path.suffix == '.jsonld', path
            survey = json.loads(path.read_text(encoding='utf-8'))
            assert survey[0]['used'][1].split('/')[-1] and survey[0]['startedAtTime'] <= survey[0]['endedAtTime']
            answers = {each['isAbout'].split('/')[-1]: each['value'] for each in survey if each['@type'] == 'reproschema:Response'}
            surveys.setdefault(participant.name, {}).setdefault(session.name, {})[path.name] = answers
for path in (out / 'audio').rglob('*') if (out / 'audio').exists() else []:
    assert path.is_dir() or (path.suffix == '.wav' and len(path.relative_to(out).parts) == 4), path

print(json.dumps({
    'surveys': surveys,
    'responses': table('responses.csv'),
    'recordings': recordings,
    'sessions': table('sessions.csv'),
    'messages': table('messages.csv'),
    'incomplete': table('incomplete/reasons.csv'),
    'unassigned': table('unassigned/reasons.csv'),
}))
