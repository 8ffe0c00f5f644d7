"""Recommend films by collaborative filtering, with embeddings of users and films learned from their ratings.

    python examples/recommender.py RUN_FOLDER

A rating is told from four numbers for its user, four for its film, and how much each is above the average. A step
changes the rows of its batch only; the users' table lies in three parts, as tables do that are too large for one. A
checkpoint is written after each epoch: started again, with more epochs, the program goes on from there.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import coldframe.tf1 as tf

USERS, RANK, BATCH = 300, 4, 100
KINDS = ["comedy", "crime", "romance", "space"]
FILMS = [f"{kind} no. {n}" for n in range(1, 21) for kind in KINDS]


def ratings() -> dict[str, np.ndarray]:
    """Return made-up ratings from 1 to 5: users like some kinds of films, and some films are better than others."""
    random = np.random.RandomState(0)
    taste = 1.3 * random.normal(size=(USERS, len(KINDS)))
    quality = 0.3 * random.normal(size=len(FILMS))
    user, film = np.divmod(random.permutation(USERS * len(FILMS))[:9000], len(FILMS))
    liking = 3 + taste[user, film % len(KINDS)] + quality[film] + 0.3 * random.normal(size=len(user))
    return {"user": user, "film": film, "rating": np.clip(np.round(liking), 1, 5).astype(np.float32)}


def build(mean: float) -> dict[str, Any]:
    """Build the model and return its tensors and operations by name."""
    user = tf.placeholder(tf.int64, [None], name="user")
    film = tf.placeholder(tf.int64, [None], name="film")
    rating = tf.placeholder(tf.float32, [None], name="rating")
    start = tf.random_normal_initializer(stddev=0.1)
    parts = tf.fixed_size_partitioner(3)
    users = tf.get_variable("users", [USERS, RANK], initializer=start, partitioner=parts)
    films = tf.get_variable("films", [len(FILMS), RANK], initializer=start)
    user_bias = tf.get_variable("user_bias", [USERS], initializer=tf.zeros_initializer(), partitioner=parts)
    film_bias = tf.get_variable("film_bias", [len(FILMS)], initializer=tf.zeros_initializer())

    p = tf.nn.embedding_lookup(users, user, partition_strategy="div")
    q = tf.nn.embedding_lookup(films, film)
    bias = tf.nn.embedding_lookup(user_bias, user, partition_strategy="div") + tf.nn.embedding_lookup(film_bias, film)
    told = tf.add(mean + bias, tf.reduce_sum(p * q, axis=1), name="told")

    error = tf.reduce_mean(tf.squared_difference(told, rating))
    loss = error + 0.02 * (tf.nn.l2_loss(p) + tf.nn.l2_loss(q)) / BATCH
    step = tf.train.get_or_create_global_step()
    train = tf.train.AdamOptimizer(0.01).minimize(loss, global_step=step)
    inputs = {"user": user, "film": film, "rating": rating}
    return {**inputs, "told": told, "rmse": tf.sqrt(error), "train": train, "step": step}


def feeds(model: dict[str, Any], data: dict[str, np.ndarray], rows: np.ndarray) -> dict[Any, np.ndarray]:
    """Return what to feed for some rows of the ratings."""
    return {model[name]: values[rows] for name, values in data.items()}


def recommend(sess: Any, model: dict[str, Any], data: dict[str, np.ndarray], user: int, count: int = 3) -> None:
    """Print what a user liked best, and the films not seen yet that the model says they would like."""
    own = np.flatnonzero(data["user"] == user)
    liked = own[np.argsort(-data["rating"][own], kind="stable")][:count]
    told = sess.run(model["told"], {model["user"]: [user] * len(FILMS), model["film"]: range(len(FILMS))})
    told[data["film"][own]] = -np.inf
    print(f"user {user} liked {', '.join(FILMS[f] for f in data['film'][liked])}")
    print(f"  and may like {', '.join(f'{FILMS[f]} ({told[f]:.1f})' for f in np.argsort(-told)[:count])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where checkpoints go")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    data = ratings()
    held_out, known = np.split(np.arange(len(data["user"])), [1000])
    tf.set_random_seed(1)
    model = build(float(data["rating"][known].mean()))
    saver = tf.train.Saver(max_to_keep=2)
    with tf.Session() as sess:
        latest = tf.train.latest_checkpoint(os.fspath(options.folder))
        if latest is None:
            sess.run(tf.global_variables_initializer())
        else:
            saver.restore(sess, latest)
            print(f"going on from step {sess.run(model['step'])}")
        steps = len(known) // BATCH
        for epoch in range(int(sess.run(model["step"])) // steps, options.epochs):
            order = np.random.RandomState(epoch).permutation(known)
            errors = [
                sess.run([model["rmse"], model["train"]], feeds(model, data, rows))[0]
                for rows in np.split(order[: steps * BATCH], steps)
            ]
            unseen = sess.run(model["rmse"], feeds(model, data, held_out))
            print(f"epoch {epoch + 1}: rmse {np.mean(errors):.3f}, of ratings never seen {unseen:.3f}")
            saver.save(sess, os.fspath(options.folder / "model.ckpt"), global_step=model["step"])
        for user in (7, 42):
            recommend(sess, model, data, user)


if __name__ == "__main__":
    main()
