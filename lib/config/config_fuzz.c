// SPDX-License-Identifier: MIT OR Apache-2.0
/* A cell's configuration and the values in it. */
#include "lib/config/config.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = (char *)fuzz_copy(data, bytes, 0);
    char *line = (char *)fuzz_copy(data, bytes, 1);
    uint64_t number;
    bool flag;

    if (config_is_well_formed(text, bytes)) {
        const char *value = config_find(text, bytes, "key");
        VERIFY(value == NULL || fuzz_within(value, strlen(value) + 1u, text, bytes));
    }
    if (config_parse_u64(line, &number) == STATUS_OK) {
        bool hexadecimal = line[0] == '0' && (line[1] == 'x' || line[1] == 'X');
        char *end;
        uint64_t plain = strtoull(line, &end, hexadecimal ? 16 : 10);
        VERIFY(*end == 0 ? number == plain : end[1] == 0 && number >= plain);
    }
    (void)config_parse_bool(line, &flag);
    free(text);
    free(line);
    return 0;
}
