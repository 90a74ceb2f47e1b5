"""The classic converter without its queue: each film out of GridFS into a temporary file, its sound
into PCM and from there into an MP3, as moviepy has ffmpeg do it, and that into GridFS.
Prints the seconds it took."""

import os
import subprocess
import sys
import tempfile
import time

import gridfs
import pymongo

uri, clip, count = sys.argv[1:]
client = pymongo.MongoClient(uri)
videos, mp3s = gridfs.GridFS(client["classic_videos"]), gridfs.GridFS(client["classic_mp3s"])
with open(clip, "rb") as file:
    film = file.read()
fids = [videos.put(film) for _ in range(int(count))]


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments], check=True)


started = time.perf_counter()
for fid in fids:
    with tempfile.TemporaryDirectory() as folder:
        film, wav, mp3 = (os.path.join(folder, name) for name in ("film", "sound.wav", "sound.mp3"))
        with open(film, "wb") as file:
            file.write(videos.get(fid).read())
        ffmpeg("-i", film, "-vn", "-ar", "44100", "-ac", "2", "-c:a", "pcm_s16le", wav)
        ffmpeg("-i", wav, "-c:a", "libmp3lame", "-q:a", "2", mp3)
        with open(mp3, "rb") as file:
            mp3s.put(file.read())
print(time.perf_counter() - started)
for database in ("classic_videos", "classic_mp3s"):
    client.drop_database(database)
