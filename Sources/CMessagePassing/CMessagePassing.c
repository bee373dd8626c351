// Starting and ending MPI, batches of point-to-point messages, and MPI's own all-reduce.
#include "CMessagePassing.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <time.h>
#include <unistd.h>

static MPI_Comm communicator = MPI_COMM_NULL;
static int own_rank = 0, rank_count = 1;

// A rank that outlived a killed mpirun would go on computing until its next message.
static void end_with_mpirun(void) {
#ifdef __linux__
  if (getenv("OMPI_COMM_WORLD_SIZE")) prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

int cmp_init(void) {
  if (communicator != MPI_COMM_NULL) return 0;
  int finalised = 0, initialised = 0, provided = MPI_THREAD_SINGLE, rc;
  if ((rc = MPI_Finalized(&finalised))) return rc;
  if (finalised) return CMP_FINALISED;
  end_with_mpirun();
  if ((rc = MPI_Initialized(&initialised))) return rc;
  rc = initialised ? MPI_Query_thread(&provided)
                   : MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
  if (rc) return rc;
  if (provided < MPI_THREAD_SERIALIZED) return CMP_NO_THREADS;
  if ((rc = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN))) return rc;
  if ((rc = MPI_Comm_rank(MPI_COMM_WORLD, &own_rank))) return rc;
  if ((rc = MPI_Comm_size(MPI_COMM_WORLD, &rank_count))) return rc;
  // No copy of it: nobody else sends here, and making one would wait for ever for a rank that no message reaches.
  communicator = MPI_COMM_WORLD;
  return 0;
}

int cmp_initialised(void) { return communicator != MPI_COMM_NULL; }

int cmp_finalize(void) {
  if (communicator == MPI_COMM_NULL) return 0;
  communicator = MPI_COMM_NULL;
  return MPI_Finalize();
}

void cmp_abort(int code) {
  if (code < 1 || code > 125) code = 1;
  if (communicator != MPI_COMM_NULL) MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

int cmp_rank(void) { return own_rank; }
int cmp_size(void) { return rank_count; }

void cmp_host_name(char *text, size_t size) {
  if (size == 0) return;
  if (gethostname(text, size)) snprintf(text, size, "unknown");
  text[size - 1] = 0;
}

void cmp_error_text(int code, char *text, size_t size) {
  if (size == 0) return;
  char words[MPI_MAX_ERROR_STRING + 1] = "";
  int length = 0;
  switch (code) {
    case CMP_TIMEOUT: snprintf(text, size, "timed out"); return;
    case CMP_FINALISED: snprintf(text, size, "MPI was finalised before"); return;
    case CMP_NO_MEMORY: snprintf(text, size, "out of memory"); return;
    case CMP_NO_THREADS:
      snprintf(text, size, "this MPI was built without support for threads");
      return;
    default: break;
  }
  if (MPI_Error_string(code, words, &length)) snprintf(words, sizeof words, "error %d", code);
  snprintf(text, size, "%s", words);
}

struct cmp_batch {
  MPI_Request *requests;
  MPI_Status *statuses;
  int *indices;
  int *peers;  // whom each message goes to or comes from
  int count, capacity;
  size_t bytes;
  int is_awaited;   // a wait has begun, and may have timed out
  double progress;  // when a message was completed, or the wait began
  double longest;   // without a completed message
};

cmp_batch *cmp_batch_create(void) { return calloc(1, sizeof(cmp_batch)); }

void cmp_batch_destroy(cmp_batch *batch) {
  if (!batch) return;
  free(batch->requests);
  free(batch->statuses);
  free(batch->indices);
  free(batch->peers);
  free(batch);
}

static int grow(void *array, size_t element, int capacity) {
  void **slot = array;
  void *larger = realloc(*slot, element * (size_t)capacity);
  if (!larger) return CMP_NO_MEMORY;
  *slot = larger;
  return 0;
}

static int reserve_one(cmp_batch *batch) {
  if (batch->count < batch->capacity) return 0;
  int capacity = batch->capacity ? 2 * batch->capacity : 32;
  int rc;
  if ((rc = grow(&batch->requests, sizeof *batch->requests, capacity))) return rc;
  if ((rc = grow(&batch->statuses, sizeof *batch->statuses, capacity))) return rc;
  if ((rc = grow(&batch->indices, sizeof *batch->indices, capacity))) return rc;
  if ((rc = grow(&batch->peers, sizeof *batch->peers, capacity))) return rc;
  batch->capacity = capacity;
  return 0;
}

// MPI counts in int: longer messages travel in pieces.
static const size_t piece = (size_t)1 << 30;

int cmp_batch_send(cmp_batch *batch, const void *data, size_t bytes, int peer, int tag) {
  const char *from = data;
  for (size_t at = 0; at < bytes; at += piece) {
    int rc = reserve_one(batch);
    if (rc) return rc;
    size_t length = bytes - at < piece ? bytes - at : piece;
    rc = MPI_Isend(from + at, (int)length, MPI_BYTE, peer, tag, communicator,
                   &batch->requests[batch->count]);
    if (rc) return rc;
    batch->peers[batch->count++] = peer;
    batch->bytes += length;
  }
  return 0;
}

int cmp_batch_receive(cmp_batch *batch, void *data, size_t bytes, int peer, int tag) {
  char *to = data;
  for (size_t at = 0; at < bytes; at += piece) {
    int rc = reserve_one(batch);
    if (rc) return rc;
    size_t length = bytes - at < piece ? bytes - at : piece;
    rc = MPI_Irecv(to + at, (int)length, MPI_BYTE, peer, tag, communicator,
                   &batch->requests[batch->count]);
    if (rc) return rc;
    batch->peers[batch->count++] = peer;
    batch->bytes += length;
  }
  return 0;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void note_pause(cmp_batch *batch, double time) {
  if (time - batch->progress > batch->longest) batch->longest = time - batch->progress;
}

int cmp_batch_wait(cmp_batch *batch, double seconds) {
  double start = now(), progress = start;
  if (!batch->is_awaited) {
    batch->is_awaited = 1;
    batch->progress = start;
    batch->longest = 0;
  }
  // Large messages move only while somebody polls: stay awake for them at about 1 GB/s.
  double awake = 2e-4 + 1e-9 * (double)batch->bytes;
  for (;;) {
    int done = 0;
    int rc = MPI_Testsome(batch->count, batch->requests, &done, batch->indices, batch->statuses);
    if (rc == MPI_ERR_IN_STATUS) {
      for (int i = 0; i < done; i++)
        if (batch->statuses[i].MPI_ERROR) return batch->statuses[i].MPI_ERROR;
    }
    if (rc) return rc;
    if (done == MPI_UNDEFINED) break;
    double time = now();
    if (done) {
      note_pause(batch, time);
      batch->progress = progress = time;
      continue;
    }
    if (time - progress > seconds) {
      note_pause(batch, time);
      // What has taken so long will not come at once: the next wait leaves the core to others.
      batch->bytes = 0;
      return CMP_TIMEOUT;
    }
    if (time - start < awake) {
      sched_yield();
    } else {
      struct timespec pause = {0, 100000};
      nanosleep(&pause, NULL);
    }
  }
  batch->count = 0;
  batch->bytes = 0;
  batch->is_awaited = 0;
  return 0;
}

double cmp_batch_idle(const cmp_batch *batch) { return now() - batch->progress; }

double cmp_batch_longest(const cmp_batch *batch) { return batch->longest; }

int cmp_batch_is_missing(const cmp_batch *batch, int peer) {
  for (int i = 0; i < batch->count; i++)
    if (batch->peers[i] == peer && batch->requests[i] != MPI_REQUEST_NULL) return 1;
  return 0;
}

// Notes under way, and room for others.
struct note {
  MPI_Request request;
  int32_t words[CMP_NOTE_WORDS];
  struct note *next;
};
static struct note *notes = NULL;

int cmp_note_send(const int32_t *words, int peer, int tag) {
  struct note *note;
  for (note = notes; note; note = note->next) {
    int done = 0;
    int rc = MPI_Test(&note->request, &done, MPI_STATUS_IGNORE);
    if (rc) return rc;
    if (done) break;
  }
  if (!note) {
    if (!(note = calloc(1, sizeof *note))) return CMP_NO_MEMORY;
    note->request = MPI_REQUEST_NULL;
    note->next = notes;
    notes = note;
  }
  memcpy(note->words, words, sizeof note->words);
  return MPI_Isend(note->words, sizeof note->words, MPI_BYTE, peer, tag, communicator,
                   &note->request);
}

int cmp_note_receive(int32_t *words, int *peer, int tag) {
  int found = 0, rc;
  MPI_Status status;
  *peer = -1;
  if ((rc = MPI_Iprobe(MPI_ANY_SOURCE, tag, communicator, &found, &status)) || !found) return rc;
  *peer = status.MPI_SOURCE;
  return MPI_Recv(words, CMP_NOTE_WORDS * sizeof *words, MPI_BYTE, *peer, tag, communicator,
                  MPI_STATUS_IGNORE);
}

int cmp_allreduce_sum(float *x, size_t n) {
  for (size_t at = 0; at < n; at += INT_MAX) {
    int length = (int)(n - at < INT_MAX ? n - at : INT_MAX);
    int rc = MPI_Allreduce(MPI_IN_PLACE, x + at, length, MPI_FLOAT, MPI_SUM, communicator);
    if (rc) return rc;
  }
  return 0;
}
