// The marks on the functions, and the headers of C that all others need.

#ifndef TENSORFLOW_C_SYS_MARKS_H
#define TENSORFLOW_C_SYS_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A mark is the first TensorFlow release with the function. It expands to nothing; build/marks.rs reads it to generate
// the table FUNCTIONS. Every function has exactly one.
//
// A function of TensorFlow's stable headers. Required if 2.4 has it.
#define TF_SINCE(major, minor)
// A function of TensorFlow's c_api_experimental.h. Never required: builds of TensorFlow may leave that file out.
#define TF_EXPERIMENTAL_SINCE(major, minor)

#endif  // TENSORFLOW_C_SYS_MARKS_H
