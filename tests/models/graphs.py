"""The models of `make_models.py` that are GraphDefs."""

import tensorflow as tf

from saving import save_graph_def


def graph(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 16], name="x")
        z = tf.compat.v1.placeholder(tf.float32, [None, 16], name="z")
        tf.add(x, 1.0, name="y")
        tf.add(x, z, name="both")
        tf.split(x, 2, axis=1, name="parts")

    save_graph_def(folder, build)


def graph_variables(folder):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        v = tf.compat.v1.get_variable("v", initializer=3.0, use_resource=False)
        tf.multiply(x, v, name="y")
        tf.compat.v1.global_variables_initializer()

    save_graph_def(folder, build)


def graph_open(folder):
    save_graph_def(folder, lambda: tf.multiply(tf.compat.v1.placeholder(tf.float32, name="x"), 2.0, name="y"))


MODELS = [graph, graph_variables, graph_open]
