#include <iostream>
#include <map>
#include <string>

int main(int count, char **words) {
    std::map<std::string, int> found;
    for (int at = 1; at < count; at++)
        found[words[at]]++;
    for (const auto &[word, times] : found)
        std::cout << word << " " << times << std::endl;
}
